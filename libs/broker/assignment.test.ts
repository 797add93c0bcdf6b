import { expect, test } from "bun:test";
import fc from "fast-check";
import { assign, assignmentInForce } from "./assignment.ts";

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
      const assignment = assign(positions, subscriptions);
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
      const one = assign(positions, subscriptions);
      const other = assign([...positions].reverse(), [...subscriptions].reverse());
      expect([...other].sort()).toEqual([...one].sort());
    }),
  );
});

test("[K6] what is assigned already stays when nothing has changed", () => {
  fc.assert(
    fc.property(cluster, ({ positions, subscriptions }) => {
      const before = assign(positions, subscriptions);
      const settled = positions.map((one) => ({ ...one, owner: before.get(one.position) ?? null }));
      expect([...assign(settled, subscriptions)].sort()).toEqual([...before].sort());
    }),
  );
});

test("[K6] when a member leaves, only what it had moves", () => {
  fc.assert(
    fc.property(cluster, ({ positions, subscriptions, members }) => {
      fc.pre(members.length > 1);
      const before = assign(positions, subscriptions);
      const gone = members[0] as number;
      const settled = positions.map((one) => ({ ...one, owner: before.get(one.position) ?? null }));
      const after = assign(
        settled,
        subscriptions.filter(({ member }) => member !== gone),
      );
      for (const [position, member] of before) if (member !== gone) expect(after.get(position)).toBe(member);
    }),
  );
});

test("[K5] a topic without a subscriber has no owner, and members beyond the partitions have nothing", () => {
  const positions = [{ position: 1, topic: 1, owner: 7 }];
  expect(assign(positions, []).size).toBe(0);
  const crowd = [1, 2, 3].map((member) => ({ topic: 1, member }));
  expect([...assign(positions, crowd)]).toHaveLength(1);
});

test("[Q5] a single active member gets everything: the one that has most, else the oldest; when it leaves, the next", () => {
  fc.assert(
    fc.property(cluster, ({ positions, subscriptions, members }) => {
      for (const topic of new Set(positions.map((position) => position.topic))) {
        const ofTopic = positions.filter((position) => position.topic === topic);
        const asked = subscriptions.filter((one) => one.topic === topic).map((one) => ({ ...one, singleActive: true }));
        const assignment = assign(ofTopic, asked);
        const [active, ...others] = [...new Set(assignment.values())];
        expect(others).toEqual([]);
        const held = (member: number) => ofTopic.filter(({ owner }) => owner === member).length;
        for (const member of members) expect(held(active ?? -1)).toBeGreaterThanOrEqual(held(member));
        const left = assign(
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
      const alone = assign(positions, subscriptions);
      const together = assign(laid, subscriptions);
      for (const { position, bundle } of laid) expect(together.get(position)).toBe(alone.get(bundle));
    }),
  );
});

test("[Q4] lanes that are new go where the others of their partition are", () => {
  fc.assert(
    fc.property(cluster, ({ positions, subscriptions }) => {
      const before = assign(positions, subscriptions);
      const laid = [0, 1].flatMap((lane) =>
        positions.map((one) => ({
          ...one,
          position: lane * 1_000 + one.position,
          bundle: one.position,
          owner: lane === 0 ? (before.get(one.position) ?? null) : null,
        })),
      );
      const after = assign(laid, subscriptions);
      for (const { position, bundle } of laid) expect(after.get(position)).toBe(before.get(bundle));
    }),
  );
});

test("[K6] when a member joins, only what it gets moves; when partitions are added, only they find an owner", () => {
  fc.assert(
    fc.property(cluster, fc.integer({ min: 1, max: 5 }), ({ positions, subscriptions, members }, added) => {
      const before = assign(positions, subscriptions);
      const settled = positions.map((one) => ({ ...one, owner: before.get(one.position) ?? null }));
      const topics = [...new Set(subscriptions.map(({ topic }) => topic))];
      const joined = [...subscriptions, ...topics.map((topic) => ({ topic, member: 99 }))];
      for (const [position, member] of assign(settled, joined)) {
        if (member !== 99) expect(member).toBe(before.get(position) as number);
      }
      const topic = topics[0] as number;
      const grown = [
        ...settled,
        ...Array.from({ length: added }, (_, index) => ({ position: 1_000 + index, topic, owner: null })),
      ];
      const after = assign(grown, subscriptions);
      expect(after.size).toBe(grown.length);
      // More partitions never lower anybody's share, so nothing has to go.
      for (const [position, member] of before) expect(after.get(position)).toBe(member);
      expect(members).toContain(after.get(1_000) as number);
    }),
  );
});

const inTurn = ["range", "round-robin"] as const;

test("[K6] by range and in turn too, every position has one subscriber of its topic, and all members compute the same", () => {
  const choices = fc.uniqueArray(fc.integer({ min: 0, max: 17 }), { maxLength: 18 });
  fc.assert(
    fc.property(cluster, choices, fc.constantFrom(...inTurn), ({ positions, subscriptions }, gone, assignment) => {
      const some = subscriptions.filter((_, index) => !gone.includes(index));
      const assigned = assign(positions, some, assignment);
      for (const { position, topic } of positions) {
        const members = some.filter((one) => one.topic === topic).map(({ member }) => member);
        if (members.length === 0) expect(assigned.has(position)).toBe(false);
        else expect(members).toContain(assigned.get(position) as number);
      }
      const other = assign([...positions].reverse(), [...some].reverse(), assignment);
      expect([...other].sort()).toEqual([...assigned].sort());
    }),
  );
});

test("[K6] by range, members differ by at most one per topic and have partitions that follow each other; in turn, by at most one over all topics", () => {
  fc.assert(
    fc.property(cluster, ({ positions, subscriptions, members }) => {
      const counts = (of: ReadonlyMap<number, number>, topic?: number) =>
        members.map(
          (member) =>
            positions.filter((one) => (topic ?? one.topic) === one.topic && of.get(one.position) === member).length,
        );
      const spread = (all: readonly number[]) => Math.max(...all) - Math.min(...all);
      const ranges = assign(positions, subscriptions, "range");
      for (const topic of new Set(positions.map((one) => one.topic))) {
        expect(spread(counts(ranges, topic))).toBeLessThanOrEqual(1);
        const owners = positions.filter((one) => one.topic === topic).map(({ position }) => ranges.get(position) ?? -1);
        expect(owners).toEqual([...owners].sort((a, b) => a - b));
      }
      expect(spread(counts(assign(positions, subscriptions, "round-robin")))).toBeLessThanOrEqual(1);
    }),
  );
});

test("[K6] as in Kafka's documentation: two topics of three partitions, two members", () => {
  const positions = [1, 2, 3, 4, 5, 6].map((position) => ({ position, topic: position <= 3 ? 1 : 2, owner: null }));
  const both = [1, 2].flatMap((member) => [1, 2].map((topic) => ({ topic, member })));
  const of = (assignment: "range" | "round-robin") =>
    [...assign(positions, both, assignment)].map(([, member]) => member);
  expect(of("range")).toEqual([1, 1, 2, 1, 1, 2]);
  expect(of("round-robin")).toEqual([1, 2, 1, 2, 1, 2]);
});

test("[K6] a static member that comes back under another number has what it had, in every way of assigning", () => {
  fc.assert(
    fc.property(cluster, fc.constantFrom("sticky", ...inTurn), ({ positions, subscriptions, members }, assignment) => {
      const named = subscriptions.map((one) => ({ ...one, staticId: `m${one.member}` }));
      const before = assign(positions, named, assignment);
      const [gone, back] = [members[0] as number, 50];
      const rename = (member: number | null) => (member === gone ? back : member);
      const after = assign(
        positions.map((one) => ({ ...one, owner: rename(before.get(one.position) ?? null) })),
        named.map((one) => ({ ...one, member: rename(one.member) ?? 0 })),
        assignment,
      );
      expect([...after].sort()).toEqual(
        [...before].map(([position, member]): [number, number] => [position, rename(member) ?? 0]).sort(),
      );
    }),
  );
});

test("[Q4] the lanes of a partition go to one member by range and in turn, too", () => {
  fc.assert(
    fc.property(cluster, fc.constantFrom(...inTurn), ({ positions, subscriptions }, assignment) => {
      const laid = [0, 1].flatMap((lane) =>
        positions.map((one) => ({ ...one, position: lane * 1_000 + one.position, bundle: one.position })),
      );
      const alone = assign(positions, subscriptions, assignment);
      const together = assign(laid, subscriptions, assignment);
      for (const { position, bundle } of laid) expect(together.get(position)).toBe(alone.get(bundle));
    }),
  );
});

test("[K6] where members disagree about the way, the oldest counts, whatever the order of the rows", () => {
  const said = [
    { topic: 1, member: 4, assignment: "range" },
    { topic: 1, member: 9, assignment: "round-robin" },
    { topic: 2, member: 4, assignment: "range" },
  ] as const;
  expect(assignmentInForce(said)).toBe("range");
  expect(assignmentInForce([...said].reverse())).toBe("range");
  expect(assignmentInForce(said.filter(({ member }) => member !== 4))).toBe("round-robin");
  expect(assignmentInForce([])).toBe("sticky");
});
