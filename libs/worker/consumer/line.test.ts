import { expect, test } from "bun:test";
import fc from "fast-check";
import { Line } from "./line.ts";

test("a line gives what was put into it, in order", () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 200 }), (pushes) => {
      const [line, expected] = [new Line<number>(), [] as number[]];
      for (const [number, isPush] of pushes.entries()) {
        if (isPush) {
          line.push(number);
          expected.push(number);
        } else if (!line.isEmpty) expect(line.shift()).toBe(expected.shift() as number);
        expect(line.isEmpty).toBe(expected.length === 0);
      }
    }),
  );
  const long = new Line<number>();
  for (let number = 0; number < 10_000; number += 1) long.push(number);
  for (let number = 0; number < 10_000; number += 1) expect(long.shift()).toBe(number);
  expect(long.isEmpty).toBe(true);
});
