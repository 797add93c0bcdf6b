import assert from "node:assert/strict";
import { test } from "node:test";
import {
  isSluiceError,
  keyHash,
  leastLoaded,
  type PartitionerFactory,
  partitionOfKey,
  roundRobin,
  topic,
} from "sluice";
import { z } from "zod";
import { count, world } from "./harness.ts";

const schema = z.object({ number: z.number() });
const value = (number: number) => ({ number });

/** Murmur2 of these keys, from the tests of Apache Kafka (UtilsTest.testMurmur2). */
const kafkaHashes: readonly (readonly [string, number])[] = [
  ["21", -973932308],
  ["foobar", -790332482],
  ["a-little-bit-long-string", -985981536],
  ["a-little-bit-longer-string", -1486304829],
  ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
  ["abc", 479470107],
];

test("[K2] keyHash puts a key where Kafka would put it, and SQL agrees", async () => {
  await using here = await world();
  const byKey = topic("by-key", { schema, partitions: 1_000 });
  await using sluice = await here.connect({ topics: [byKey] });
  for (const [key, hash] of kafkaHashes) {
    const expected = (hash & 0x7fffffff) % 1_000;
    assert.equal(partitionOfKey(key, 1_000), expected, key);
    assert.equal((await sluice.send(byKey, value(0), { key })).partition, expected, key);
    const [row] = await here.sql`select sluice.partition_of_key(${key}, 1000) as partition`;
    assert.equal(row?.["partition"], expected, key);
  }
  for (const key of ["", "ü", "日本語", "🦑", "x".repeat(1_024)]) {
    const [row] = await here.sql`select sluice.partition_of_key(${key}, 1000) as partition`;
    assert.equal(row?.["partition"], partitionOfKey(key, 1_000), key);
  }
});

test("[K2] keyHash sticks to a partition for messages without a key, and moves on", async () => {
  await using here = await world();
  const keyless = topic("keyless", { schema, partitions: 4, partitioner: keyHash });
  await using sluice = await here.connect();
  const results = await sluice.sendBatch(keyless, count(2_000).map(value));
  const runs = results.filter((result, index) => result.partition !== results[index - 1]?.partition).length;
  assert.equal(new Set(results.map((result) => result.partition)).size, 4, "every partition gets some");
  assert.ok(runs < 20, `${runs} runs of one partition: batches stay large`);
});

test("[K2] roundRobin goes round, whatever the key", async () => {
  await using here = await world();
  const round = topic("round", { schema, key: () => "same", partitions: 3, partitioner: roundRobin });
  await using sluice = await here.connect();
  const results = await sluice.sendBatch(round, count(7).map(value));
  assert.deepEqual(
    results.map((result) => result.partition),
    [0, 1, 2, 0, 1, 2, 0],
  );
});

test("[K2] leastLoaded prefers the partition with the fewest messages waiting", async () => {
  await using here = await world();
  const loaded = topic("loaded", { schema, partitions: 3, partitioner: leastLoaded });
  await using sluice = await here.connect({ topics: [loaded] });
  const crowd = count(30).map((number) => sluice.send(loaded, value(number), { partition: 0 }));
  const rest = await Promise.all(count(20).map((number) => sluice.send(loaded, value(number))));
  await Promise.all(crowd);
  const sizes = count(3).map((partition) => rest.filter((result) => result.partition === partition).length);
  assert.deepEqual(sizes, [0, 10, 10]);
});

test("[K2] a partitioner of one's own, which may keep state; an answer that is no partition is refused", async () => {
  await using here = await world();
  const evenOdd: PartitionerFactory = () => {
    let sent = 0;
    return ({ key, partitions }) => (key === "broken" ? partitions : sent++ % 2);
  };
  const own = topic("own", { schema, partitions: 5, partitioner: evenOdd });
  await using sluice = await here.connect();
  const results = await sluice.sendBatch(own, count(4).map(value));
  assert.deepEqual(
    results.map((result) => result.partition),
    [0, 1, 0, 1],
  );
  await assert.rejects(sluice.send(own, value(9), { key: "broken" }), (error) =>
    isSluiceError(error, "INVALID_OPTIONS"),
  );
});

test("[R2] an argument picks the partition: the key of a send, or the partition itself", async () => {
  await using here = await world();
  const orders = topic("orders", { schema, partitions: 8 });
  await using sluice = await here.connect();
  const byOrder = await Promise.all(count(20).map((number) => sluice.send(orders, value(number), { key: "order-7" })));
  assert.deepEqual([...new Set(byOrder.map((result) => result.partition))], [partitionOfKey("order-7", 8)]);
  const byNumber = await sluice.send(orders, value(0), { partition: 5 });
  assert.equal(byNumber.partition, 5);
  for (const partition of [8, -1, 1.5]) {
    await assert.rejects(sluice.send(orders, value(0), { partition }), (error) =>
      isSluiceError(error, "INVALID_OPTIONS"),
    );
  }
  const [row] = await here.sql`select count(*)::int as messages from topics.orders`;
  assert.equal(row?.["messages"], 21);
});
