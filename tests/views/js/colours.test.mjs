import assert from "node:assert/strict";
import { test } from "node:test";

import { COLOUR_MAPS, colourTable, headColour, inkOn, legendTicks, luminance, PALETTE, shade } from "../../../transformer_lab/views/shared/colours.js";

const GROUNDS = { light: [255, 255, 255], dark: [0x19, 0x1c, 0x21] };
const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const contrast = (a, b) => {
  const [low, high] = [luminance(...a), luminance(...b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
};

for (const theme of ["light", "dark"]) {
  test(`sixteen head colours stay apart and reach 3:1 (${theme})`, () => {
    const colours = Array.from({ length: 16 }, (_, head) => rgb(headColour(head)));
    for (const [i, a] of colours.entries()) {
      assert.ok(contrast(a, GROUNDS[theme]) >= 3, `head ${i} has ${contrast(a, GROUNDS[theme])}`);
      for (const b of colours.slice(i + 1)) {
        assert.ok(Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]) > 36, `${a} is too like ${b}`);
      }
    }
    assert.equal(headColour(16), headColour(0));
  });

  test(`words can be read on every ground, and each meaning has a colour of its own (${theme})`, () => {
    const { paper, panel, chosen, ink, quiet, accent, edited, warning } = PALETTE[theme];
    for (const colour of [ink, quiet, accent, edited, warning]) assert.ok(contrast(rgb(colour), rgb(paper)) >= 4.5, colour);
    for (const ground of [panel, chosen]) assert.ok(contrast(rgb(quiet), rgb(ground)) >= 4.5, ground);
    const [r, g, b] = rgb(chosen);
    assert.ok(Math.max(r, g, b) - Math.min(r, g, b) < 24, "what is selected has no colour");
    const [red, , blue] = [rgb(accent)[0], rgb(accent)[1], rgb(accent)[2]];
    assert.ok(blue > red, "what is in focus is blue");
  });

  test(`nothing looks like nothing: the scale starts at the background (${theme})`, () => {
    const table = colourTable("default", theme);
    assert.deepEqual([...table.slice(0, 3)], GROUNDS[theme]);
  });
}

test("tables have 256 colours, and numbers on them can be read", () => {
  for (const name of [...COLOUR_MAPS, "diverging"]) {
    for (const theme of ["light", "dark"]) {
      const table = colourTable(name, theme);
      assert.equal(table.length, 768);
      for (let i = 0; i < 768; i += 3) {
        const colour = [table[i], table[i + 1], table[i + 2]];
        const ink = inkOn(table, i / 3) === "black" ? [0, 0, 0] : [255, 255, 255];
        assert.ok(contrast(colour, ink) >= 4.5);
      }
    }
  }
});

test("shades are monotone, and the legend says what they are", () => {
  assert.equal(shade(0, 1), 0);
  assert.equal(shade(1, 1), 255);
  assert.equal(shade(0.25, 1), 128);
  assert.equal(shade(5, 1), 255);
  for (const [weight, place] of legendTicks(0.2)) assert.equal(Math.round(255 * place), shade(weight, 0.2));
});
