"""Waiting until a page is drawn anew: how long that takes nobody knows beforehand."""

# rest(look) for a script of a page: returns once what `look` sees stays as it is while two frames are painted.
# What is laid out anew goes from frame to frame: one tells its new size, the next is drawn for it.
REST = """const rest = async (look, seconds = 20) => {
    const painted = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const end = performance.now() + 1000 * seconds;
    for (let before = null; before !== look(); await painted()) {
        if (performance.now() > end) throw new Error(`the page was not at rest within ${seconds} s`);
        before = look();
    }
};"""
# Where all that a view has stands.
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
    """What a grid says of its places. It is laid out anew when the map beside it has come."""
    return grid.evaluate(GRID)


def resized(page, width, height):
    """Give a page another size, and wait until it is drawn for that."""
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate(SIZED, [width, height])
