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

test("who comes late begins at once when nobody waits, and waits in line otherwise", async () => {
  workOff();
  const happened: string[] = [];
  const begin = async (name: string) => {
    await turns.begin();
    happened.push(`${name} ${turns.isOver}`);
    workOff();
    await turns.next();
    happened.push(`${name} again`);
  };
  const first = begin("a");
  queueMicrotask(() => happened.push("at once"));
  await Promise.resolve().then(() => Promise.resolve());
  await Promise.all([first, begin("b")]);
  expect(happened).toEqual(["a false", "at once", "a again", "b false", "b again"]);
});

test("a turn begins anew for who comes late", async () => {
  await turns.next();
  expect(turns.isOver).toBe(false);
  workOff();
  expect(turns.isOver).toBe(true);
  await turns.next();
  expect(turns.isOver).toBe(false);
});
