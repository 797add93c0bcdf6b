import type postgres from "postgres";

/** Invariant 5: the batches of each partition lie one behind the other, from the log's start to its end. */
export async function gaps(sql: postgres.Sql, topic: number): Promise<string[]> {
  const rows = await sql<{ sentence: string }[]>`
    with batch as (
      select partition, base_offset, base_offset + count as next_offset,
        lag(base_offset + count, 1, sluice.start_offset(${topic}, partition))
          over (partition by partition order by base_offset, count) as expected
      from ${sql(`sluice_log.topic_${topic}`)} where count > 0)
    select format('partition %s: a batch begins at %s, the one before ends at %s', partition, base_offset, expected) as sentence
    from batch where base_offset > expected
    union all
    select format('partition %s: the last batch ends at %s, the log at %s', partition, max(next_offset),
      sluice.end_offset(${topic}, partition))
    from batch group by partition having max(next_offset) <> sluice.end_offset(${topic}, partition)`;
  return rows.map(({ sentence }) => sentence);
}

/** Invariant 6: no batch begins before the one before it has ended, also across segments. */
export async function overlaps(sql: postgres.Sql, topic: number): Promise<string[]> {
  const rows = await sql<{ sentence: string }[]>`
    select format('partition %s: a batch begins at %s, below %s, where the one before ends', partition, base_offset, ended) as sentence
    from (
      select partition, base_offset,
        max(base_offset + count) over (partition by partition order by base_offset, segment
          rows between unbounded preceding and 1 preceding) as ended
      from ${sql(`sluice_log.topic_${topic}`)} where count > 0) batch
    where base_offset < ended`;
  return rows.map(({ sentence }) => sentence);
}

/** How many batches there are: a check that read nothing shows nothing. */
export async function batchCount(sql: postgres.Sql, topic: number): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    select count(*)::integer from ${sql(`sluice_log.topic_${topic}`)} where count > 0`;
  return row?.count ?? 0;
}

/** Appends one record on a connection of its own, as any client could. Resolves with its offset. */
export async function appendOne(
  sql: postgres.Sql,
  topic: number,
  partition: number,
  value: string,
  producer: { readonly producer: number; readonly sequence: number; readonly repeat?: boolean } | null = null,
): Promise<number> {
  const [row] = await sql.unsafe<{ offset: string }[]>(
    `select (sluice_log.append_${topic}(array[$1::integer], array[1], null, $2, null, $3::bigint, $4::bigint, $5, 'on', null))[1] as offset`,
    [
      partition,
      JSON.stringify([value]),
      producer?.producer ?? null,
      producer?.sequence ?? 0,
      producer?.repeat ?? false,
    ],
  );
  return Number(row?.offset);
}
