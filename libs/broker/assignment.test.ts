import { expect, test } from "bun:test";
import fc from "fast-check";
import { assignSticky } from "./assignment.ts";

const cluster = fc
  .record({
    partitions: fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 3 }),
    members: fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 }),
    owners: fc.array(fc.option(fc.integer({ min: 1, max: 12 })), { minLength: 36, maxLength: 36 }),
  })
  .map(({ partitions, members, owners }) => {
    let position = 0;
    const positions = partitions.flatMap((count, topic) =>
      Array.from({ length: count }, () => {
        position += 1;
        return { position, topic, owner: owners[position - 1] ?? null };
      }),
    );
    return {
      positions,
      subscriptions: partitions.flatMap((_, topic) => members.map((member) => ({ topic, member }))),
      members,
    };
  });

test("[K6] every position gets a live member, and members differ by at most one within a topic", () => {
  fc.assert(
    fc.property(cluster, ({ positions, subscriptions, members }) => {
      const assignment = assignSticky(positions, subscriptions);
      for (const topic of new Set(positions.map((position) => position.topic))) {
        const counts = members.map(
          (member) => positions.filter((one) => one.topic === topic && assignment.get(one.position) === member).length,
        );
        expect(counts.reduce((sum, count) => sum + count, 0)).toBe(
          positions.filter((one) => one.topic === topic).length,
        );
        expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
      }
    }),
  );
});

test("[K6] all members compute the same, whatever the order of the rows", () => {
  fc.assert(
    fc.property(cluster, ({ positions, subscriptions }) => {
      const one = assignSticky(positions, subscriptions);
      const other = assignSticky([...positions].reverse(), [...subscriptions].reverse());
      expect([...other].sort()).toEqual([...one].sort());
    }),
  );
});

test("[K6] what is assigned already stays when nothing has changed", () => {
  fc.assert(
    fc.property(cluster, ({ positions, subscriptions }) => {
      const before = assignSticky(positions, subscriptions);
      const settled = positions.map((one) => ({ ...one, owner: before.get(one.position) ?? null }));
      expect([...assignSticky(settled, subscriptions)].sort()).toEqual([...before].sort());
    }),
  );
});

test("[K6] when a member leaves, only what it had moves", () => {
  fc.assert(
    fc.property(cluster, ({ positions, subscriptions, members }) => {
      fc.pre(members.length > 1);
      const before = assignSticky(positions, subscriptions);
      const gone = members[0] as number;
      const settled = positions.map((one) => ({ ...one, owner: before.get(one.position) ?? null }));
      const after = assignSticky(
        settled,
        subscriptions.filter(({ member }) => member !== gone),
      );
      for (const [position, member] of before) if (member !== gone) expect(after.get(position)).toBe(member);
    }),
  );
});

test("[K5] a topic without a subscriber has no owner, and members beyond the partitions have nothing", () => {
  const positions = [{ position: 1, topic: 1, owner: 7 }];
  expect(assignSticky(positions, []).size).toBe(0);
  const crowd = [1, 2, 3].map((member) => ({ topic: 1, member }));
  expect([...assignSticky(positions, crowd)]).toHaveLength(1);
});

test("[Q5] a single active member gets everything: the one that has most, else the oldest; when it leaves, the next", () => {
  fc.assert(
    fc.property(cluster, ({ positions, subscriptions, members }) => {
      for (const topic of new Set(positions.map((position) => position.topic))) {
        const ofTopic = positions.filter((position) => position.topic === topic);
        const asked = subscriptions.filter((one) => one.topic === topic).map((one) => ({ ...one, singleActive: true }));
        const assignment = assignSticky(ofTopic, asked);
        const [active, ...others] = [...new Set(assignment.values())];
        expect(others).toEqual([]);
        const held = (member: number) => ofTopic.filter(({ owner }) => owner === member).length;
        for (const member of members) expect(held(active ?? -1)).toBeGreaterThanOrEqual(held(member));
        const left = assignSticky(
          ofTopic.map((one) => ({ ...one, owner: active ?? null })),
          asked.filter(({ member }) => member !== active),
        );
        const rest = members.filter((member) => member !== active).sort((a, b) => a - b);
        expect([...new Set(left.values())]).toEqual(rest.slice(0, 1));
      }
    }),
  );
});

test("[Q4] the lanes of a partition go to one member, and partitions are spread as without", () => {
  fc.assert(
    fc.property(cluster, fc.integer({ min: 1, max: 4 }), ({ positions, subscriptions }, lanes) => {
      const laid = Array.from({ length: lanes }, (_, lane) =>
        positions.map((one) => ({ ...one, position: lane * 1_000 + one.position, bundle: one.position })),
      ).flat();
      const alone = assignSticky(positions, subscriptions);
      const together = assignSticky(laid, subscriptions);
      for (const { position, bundle } of laid) expect(together.get(position)).toBe(alone.get(bundle));
    }),
  );
});

test("[Q4] lanes that are new go where the others of their partition are", () => {
  fc.assert(
    fc.property(cluster, ({ positions, subscriptions }) => {
      const before = assignSticky(positions, subscriptions);
      const laid = [0, 1].flatMap((lane) =>
        positions.map((one) => ({
          ...one,
          position: lane * 1_000 + one.position,
          bundle: one.position,
          owner: lane === 0 ? (before.get(one.position) ?? null) : null,
        })),
      );
      const after = assignSticky(laid, subscriptions);
      for (const { position, bundle } of laid) expect(after.get(position)).toBe(before.get(bundle));
    }),
  );
});
