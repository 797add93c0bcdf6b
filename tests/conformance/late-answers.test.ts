import assert from "node:assert/strict";
import { test } from "node:test";
import { app, consumer, isSluiceError, outgoing, stage, topic } from "sluice";
import { z } from "zod";
import { eventually, Inbox, type World, world } from "./harness.ts";

const asked = topic("asked", { schema: z.string(), replies: z.string(), partitions: 1 });
const checked = topic("checked", { schema: z.string(), replies: z.string(), partitions: 1 });

/** What a request came to: its answer, or why there was none. */
async function outcomeOf(request: Promise<string>): Promise<string> {
  return await request.catch((error: unknown) =>
    isSluiceError(error) ? `${error.code} ${error.reason ?? ""}`.trim() : String(error),
  );
}

async function replies(here: World) {
  const rows = await here.sql`select value, failure, dropped from sluice.replies`;
  return rows.map((row) => ({ ...row }));
}

for (const mode of ["ordered", "keyed", "shared"] as const) {
  for (const onExhausted of ["dead-letter", "drop", "pause"] as const) {
    test(`[Q7] a redriven message that is given up is the requester's failure while there is no answer (${mode}, ${onExhausted})`, async () => {
      await using here = await world();
      const handled = new Inbox<string>();
      const answering = consumer(asked, {
        group: "answering",
        mode,
        onExhausted,
        retry: { attempts: 1 },
        handler: (c) => {
          handled.add(c.value);
          // The first time it ends well and says nothing.
          if (handled.items.length > 1) throw new Error("no");
        },
      });
      await using running = await here.start(app({ consumers: [answering] }));
      const outcome = outcomeOf(running.sluice.request(asked, "late", { timeout: "19s" }));
      await handled.until(1);
      assert.equal(await running.sluice.groups.consumeAgain("answering", "asked", 0, 0), "redriven");
      assert.equal(await outcome, "REQUEST_FAILED exhausted");
    });
  }

  test(`[Q7] who has heard of a failure hears of no other: what comes of a redriven message is dropped (${mode})`, async () => {
    await using here = await world();
    const state = { ends: "in failure" };
    const answering = consumer(asked, {
      group: "answering",
      mode,
      retry: { attempts: 1 },
      handler: (c) => {
        if (state.ends === "in failure") throw new Error("no");
        c.reply("at last");
      },
    });
    await using running = await here.start(app({ consumers: [answering] }));
    assert.equal(
      await outcomeOf(running.sluice.request(asked, "fails", { timeout: "19s" })),
      "REQUEST_FAILED exhausted",
    );
    for (const [dropped, ends] of [
      [1, "in failure"],
      [2, "well"],
    ] as const) {
      state.ends = ends;
      await eventually("it is a dead letter", async () => {
        const rows = await here.sql`select from sluice.dead_letters`;
        return rows.length > 0 ? true : undefined;
      });
      await running.sluice.deadLetters.redriveGroup("answering");
      await eventually(`${dropped} answers were dropped`, async () => {
        const [reply] = await replies(here);
        return reply?.["dropped"] === dropped ? true : undefined;
      });
    }
    assert.deepEqual(await replies(here), [{ value: null, failure: "exhausted", dropped: 2 }]);
  });
}

/** Asks a stage that passes questions on and refuses the others. */
async function askAStage(here: World, answers: boolean | undefined): Promise<readonly string[]> {
  const check = stage({
    from: asked,
    to: checked,
    group: "check",
    retry: { attempts: 1 },
    ...(answers === undefined ? {} : { answers }),
    map: (c) => {
      if (c.value === "refused") throw new Error("no");
      return outgoing(checked, c.value, { headers: c.headers });
    },
  });
  const answering = consumer(checked, { group: "answering", handler: (c) => void c.reply(`${c.value}!`) });
  await using running = await here.start(app({ stages: [check], consumers: [answering] }));
  const { sluice } = running;
  return [
    await outcomeOf(sluice.request(asked, "passed on", { timeout: "19s" })),
    await outcomeOf(sluice.request(asked, "refused", { timeout: answers === true ? "19s" : "1s" })),
  ];
}

test("[Q7][R2] a stage passes a question on with its headers, and who consumes that answers", async () => {
  await using here = await world();
  assert.deepEqual(await askAStage(here, undefined), ["passed on!", "REQUEST_TIMEOUT"]);
});

test("[Q7][R2] a stage that answers for its topic is heard when it gives a question up", async () => {
  await using here = await world();
  assert.deepEqual(await askAStage(here, true), ["passed on!", "REQUEST_FAILED exhausted"]);
});
