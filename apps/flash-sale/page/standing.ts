import type { Database } from "@sluice/app-kit";
import type { OrderState } from "../sale.ts";
import type { Order } from "../topics.ts";

/** Where a buyer stands. */
export interface Standing {
  /** `none`: there is no order. `queued`: in line, and not looked at yet. */
  readonly state: OrderState | "none" | "queued";
  /** How many are served before this one, and this one: in line, or among those who wait for an item. */
  readonly place: number | null;
  /** Until when a reserved item is held, in milliseconds from now. */
  readonly payWithinMs: number | null;
}

/**
 * Where all of these buyers stand, in their order, by one statement. Who has no order yet and is known to the queue stands in
 * line: as far behind the order service as the message's offset is behind its position.
 */
export async function readStandings({ sql }: Database, buyers: readonly Order[]): Promise<readonly Standing[]> {
  return await sql<Standing[]>`
    with line as materialized (select topic from sluice.topic where name = 'flash-orders'),
    position as materialized (
      select committed_offset from sluice.lag where topic = 'flash-orders' and "group" = 'order-service')
    select coalesce(o.state, case when d.message_id is null then 'none' else 'queued' end) as state,
      case when o.state = 'waiting' then (select count(*) from flash_sale.orders x
          where x.sale = o.sale and x.state = 'waiting' and x.number <= o.number)
        when o.state is null and d.message_id is not null then greatest(1, d."offset" - coalesce((select committed_offset from position), 0) + 1)
      end::float8 as place,
      case when o.state = 'reserved'
        then greatest(0, round(extract(epoch from o.pay_until - clock_timestamp()) * 1000)) end::float8 as "payWithinMs"
    from unnest(${buyers.map(({ sale }) => sale)}::integer[], ${buyers.map(({ buyer }) => buyer)}::text[])
      with ordinality w(sale, buyer, number)
    left join flash_sale.orders o on o.sale = w.sale and o.buyer = w.buyer
    left join sluice.deduplication d on o.state is null
      and d.topic = (select topic from line) and d.message_id = w.sale || ':' || w.buyer
    order by w.number`;
}
