"""Wait until a page has been redrawn, however long that takes."""

# rest(look) in a page's script: returns once look() stays the same for two painted frames.
# A new layout takes several frames: one reports an element's new size, the next draws it.
REST = """const rest = async (look, seconds = 20) => {
    const painted = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const end = performance.now() + 1000 * seconds;
    for (let before = null; before !== look(); await painted()) {
        if (performance.now() > end) throw new Error(`the page was not at rest within ${seconds} s`);
        before = look();
    }
};"""
# The positions, sizes and data of all elements of a view.
PLACES = """() => JSON.stringify([...document.querySelectorAll("#tl-root *, .tl-view *")].map((part) => {
    const { x, y, width, height } = part.getBoundingClientRect();
    return [x, y, width, height, part.hidden, part instanceof HTMLCanvasElement && part.width, { ...part.dataset }];
}))"""
SIZED = f"""async ([width, height]) => {{
    {REST}
    const places = {PLACES};
    let turn = 0;
    await rest(() => (innerWidth === width && innerHeight === height ? places() : ++turn));
}}"""
GRID = f"""async (grid) => {{
    {REST}
    await rest(() => JSON.stringify([grid.dataset, grid.getBoundingClientRect()]));
    return {{ ...grid.dataset }};
}}"""


def grid_at_rest(grid):
    """A grid's data on its layout, once stable: the arrival of the map beside it changes it."""
    return grid.evaluate(GRID)


def resized(page, width, height):
    """Resize a page, and wait until it is redrawn."""
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate(SIZED, [width, height])
