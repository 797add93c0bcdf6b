import { expect, test } from "bun:test";
import { turns } from "./turns.ts";

/** Works until its turn is over. */
function workOff(): void {
  while (!turns.isOver);
}

test("whoever has many messages gets its turns in order, and between any two of them everything else is looked after", async () => {
  const happened: string[] = [];
  let timer = setTimeout(function tick() {
    happened.push("timer");
    timer = setTimeout(tick);
  });
  const consume = async (name: string) => {
    for (let turn = 0; turn < 5; turn += 1) {
      await turns.next();
      happened.push(name);
      workOff();
    }
  };
  await Promise.all(["a", "b", "c"].map(consume));
  clearTimeout(timer);
  expect(happened.filter((name) => name !== "timer").join("")).toBe("abcabcabcabcabc");
  const unserved = happened.filter((name, index) => name !== "timer" && happened[index - 1] !== "timer");
  expect(unserved.length).toBeLessThanOrEqual(1);
});

test("a turn begins anew for who comes late", async () => {
  await turns.next();
  expect(turns.isOver).toBe(false);
  workOff();
  expect(turns.isOver).toBe(true);
  await turns.next();
  expect(turns.isOver).toBe(false);
});
