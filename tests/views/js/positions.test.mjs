import assert from "node:assert/strict";
import { test } from "node:test";

import { numberText } from "../../../transformer_lab/views/shared/ticks.js";
import { linearShade } from "../../../transformer_lab/views/shared/number_map.js";
import { roundStep } from "../../../transformer_lab/views/shared/ticks.js";
import { namedCurves, nearestIndex, spread } from "../../../transformer_lab/views/shared/plot.js";
import { say } from "../../../transformer_lab/views/positions/schemes.js";

test("numbers near nothing", () => {
  const written = [0, 3e-12, 1.2e-7, 9.6e-6, 0.01].map((largest) =>
    say("largest", { largest }),
  );
  assert.deepEqual(written, ["below 1e−9", "below 1e−9", "1e−7", "1e−5", "0.01"]);
  assert.deepEqual(
    [-50, -0.5, 0].map((x) => numberText(x, 0.5)),
    ["−50.0", "−0.5", "0.0"],
  ); // on axes too
});

test("labels are spread apart, in their order, within bounds", () => {
  const placed = spread([50, 50, 52, 98], 10, 0, 100);
  assert.ok(placed[0] < placed[1] && placed[1] < placed[2] && placed[2] < placed[3]);
  for (let i = 1; i < 4; i++) assert.ok(placed[i] - placed[i - 1] >= 10 - 1e-9);
  assert.ok(Math.max(...placed) <= 100);
});

test("names at the ends of curves never lie on one another, however many there are", () => {
  for (let count = 1; count <= 40; count++) {
    for (let round = 0; round < 20; round++) {
      const ends = Array.from(
        { length: count },
        (_, i) => ((i * 37 + round * 61) % 100) / (1 + (round % 7)) - 20,
      );
      const series = ends.map((end, i) => ({
        name: `L${i}H0`,
        colour: "",
        x: [0],
        y: [end],
        thick: i === round ? 3 : undefined,
      }));
      const named = namedCurves(series, 12);
      assert.equal(named.length, Math.min(12, count));
      assert.ok(round >= count || named.includes(series[round])); // the selected one is always named
      const left = series.filter((one) => !named.includes(one));
      assert.ok(
        left.every((one) => named.filter((n) => !n.thick).every((n) => n.y[0] >= one.y[0])),
      );
      const placed = spread(
        named.map((n) => n.y[0]),
        13,
        10,
        10 + 11 * 13,
      ).sort((a, b) => a - b);
      for (let i = 1; i < placed.length; i++) assert.ok(placed[i] - placed[i - 1] >= 13 - 1e-9);
      assert.ok(placed[0] >= 10 - 1e-9 && placed[placed.length - 1] <= 10 + 11 * 13 + 1e-9);
    }
  }
});

test("scales and axes", () => {
  assert.deepEqual(
    [-1, 0, 1, 5, -5].map((v) => linearShade(v, -1, 1)),
    [0, 128, 255, 255, 0],
  );
  assert.equal(roundStep(64, 320), 10);
  assert.equal(nearestIndex([0, 10, 20], 14), 1);
  assert.equal(nearestIndex([], 3), -1);
});
