-- The tables of the flash sale. Applied at every start, in one transaction under the kit's advisory lock; every statement
-- may be repeated.

create schema if not exists flash_sale;
comment on schema flash_sale is 'The flash sale: its sales, its orders, and what happened to the stock.';

create table if not exists flash_sale.sales (
  sale integer generated always as identity constraint sales_pkey primary key,
  stock integer not null constraint sales_stock_range check (stock between 1 and 10000),
  in_stock integer not null constraint sales_in_stock_range check (in_stock between 0 and stock),
  waiting_places integer not null constraint sales_waiting_places_range check (waiting_places between 0 and 10000),
  pay_within interval not null
    constraint sales_pay_within_range check (pay_within between interval '100 milliseconds' and interval '1 hour'),
  opened_at timestamptz not null default clock_timestamp()
);
comment on table flash_sale.sales is 'One row per sale; the newest is the one on the page. Its row lock is what decisions about stock queue up for.';
comment on column flash_sale.sales.in_stock is 'Neither reserved nor sold. Never below zero: the constraint is the last of three fences, after lock and code.';
comment on column flash_sale.sales.waiting_places is 'How many buyers may wait for an item that somebody does not pay for.';
comment on column flash_sale.sales.pay_within is 'An item that is not paid within this time goes to the next who waits.';

create table if not exists flash_sale.orders (
  sale integer not null,
  buyer text not null constraint orders_buyer_length check (char_length(buyer) between 1 and 64),
  number bigint generated always as identity,
  state text not null
    constraint orders_state check (state in ('reserved', 'waiting', 'paid', 'returned', 'sold-out')),
  deadline_message text constraint orders_deadline_message_length check (char_length(deadline_message) <= 100),
  pay_until timestamptz,
  decided_at timestamptz not null default clock_timestamp(),
  constraint orders_pkey primary key (sale, buyer)
);
comment on table flash_sale.orders is 'One row per buyer and sale, written in the transaction that moves the order service''s position past the order''s message.';
comment on column flash_sale.orders.number is 'The order in which the order service decided; who waits is served by it.';
comment on column flash_sale.orders.state is
  'reserved: an item is held until pay_until. waiting: gets what others do not pay for. paid: sold. returned: not paid in time. sold-out: nothing was left.';
comment on column flash_sale.orders.deadline_message is 'The delayed message that gives the item back; recalled when the order is paid.';

create index if not exists orders_by_state on flash_sale.orders (sale, state, number);

create table if not exists flash_sale.movements (
  movement bigint generated always as identity constraint movements_pkey primary key,
  sale integer not null,
  buyer text not null constraint movements_buyer_length check (char_length(buyer) between 1 and 64),
  change integer not null constraint movements_change check (change in (-1, 1)),
  at timestamptz not null default clock_timestamp()
);
comment on table flash_sale.movements is 'Every item that was taken from the stock or came back, in order: the stock is the sum, at every moment.';
create index if not exists movements_by_sale on flash_sale.movements (sale, movement);

create table if not exists flash_sale.session_keys (
  one boolean not null default true constraint session_keys_pkey primary key constraint session_keys_one check (one),
  key text not null constraint session_keys_length check (char_length(key) between 32 and 200)
);
comment on table flash_sale.session_keys is 'What sessions are signed with where SESSION_SECRET is not set; made at the first start.';
insert into flash_sale.session_keys (key)
  values (replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '')) on conflict do nothing;

-- How each sale stands: the counts of its orders, and whether everything is promised to somebody.
create or replace view flash_sale.board as
select s.sale, s.stock, s.in_stock, s.waiting_places, s.pay_within, s.opened_at,
  o.reserved, o.waiting, o.paid, o.returned, o.sold_out,
  s.in_stock = 0 and (o.paid >= s.stock or o.waiting >= s.waiting_places) as is_closed
from flash_sale.sales s cross join lateral (
  select count(*) filter (where state = 'reserved')::integer as reserved,
    count(*) filter (where state = 'waiting')::integer as waiting,
    count(*) filter (where state = 'paid')::integer as paid,
    count(*) filter (where state = 'returned')::integer as returned,
    count(*) filter (where state = 'sold-out')::integer as sold_out
  from flash_sale.orders where orders.sale = s.sale) o;
comment on view flash_sale.board is 'How each sale stands. is_closed: no item is left, and all are sold or enough buyers wait.';

-- What must be true of each sale, read from orders and movements alone, and not from the counter that the app goes by.
create or replace view flash_sale.audit as
select s.sale, s.stock,
  (select count(*)::integer from flash_sale.orders o where o.sale = s.sale and o.state = 'paid') as sold,
  (select count(*)::integer from flash_sale.orders o where o.sale = s.sale and o.state in ('reserved', 'waiting')) as undecided,
  (select count(*)::integer from (
    select from flash_sale.orders o where o.sale = s.sale group by o.buyer having count(*) > 1) twice) as buyers_with_several,
  (select coalesce(min(m.left_over), s.stock)::integer from (
    select s.stock + sum(change) over (order by movement) as left_over
    from flash_sale.movements where movements.sale = s.sale) m) as lowest_stock,
  s.stock + (select coalesce(sum(change), 0)::integer from flash_sale.movements m where m.sale = s.sale) as stock_at_end,
  s.in_stock,
  (select count(*)::integer from flash_sale.orders o where o.sale = s.sale) as orders
from flash_sale.sales s;
comment on view flash_sale.audit is 'Whether a sale was fair: nothing oversold, one order per buyer, the stock never below zero.';

create or replace function flash_sale.open_sale(stock integer default 100, pay_within interval default '30 seconds')
returns integer language sql as $$
  insert into flash_sale.sales (stock, in_stock, waiting_places, pay_within)
  values (open_sale.stock, open_sale.stock, (open_sale.stock + 1) / 2, open_sale.pay_within) returning sale
$$;
comment on function flash_sale.open_sale is 'Begins a sale, which is the one on the page from now on: select flash_sale.open_sale(stock => 100).';

-- Decisions about one sale happen one after another; each statement after this sees what was decided before.
create or replace function flash_sale.lock_sale(p_sale integer) returns void language plpgsql as $$
begin
  perform from flash_sale.sales where sale = p_sale for update;
end $$;
comment on function flash_sale.lock_sale is 'Waits for whoever decides about this sale.';

-- Gives an item, if there is one, to whoever waits longest, and sends the message that looks after the payment: order, stock and
-- message are one statement.
create or replace function flash_sale.reserve_next(p_sale integer) returns void language sql as $$
  with next as (
    select o.sale, o.buyer, s.pay_within from flash_sale.orders o join flash_sale.sales s using (sale)
    where o.sale = p_sale and o.state = 'waiting' and s.in_stock > 0 order by o.number limit 1),
  taken as (update flash_sale.sales set in_stock = in_stock - 1 from next where sales.sale = next.sale),
  moved as (insert into flash_sale.movements (sale, buyer, change) select sale, buyer, -1 from next)
  update flash_sale.orders set state = 'reserved', pay_until = clock_timestamp() + next.pay_within,
    deadline_message = sluice.send('flash-payment-deadlines', key => next.sale::text,
      value => json_build_object('sale', next.sale, 'buyer', next.buyer), delay => next.pay_within)
  from next where orders.sale = next.sale and orders.buyer = next.buyer
$$;
comment on function flash_sale.reserve_next is 'Reserves an item for the first who waits, and sends the delayed message that returns it.';

create or replace function flash_sale.place_order(p_sale integer, p_buyer text) returns text language plpgsql as $$
begin
  perform flash_sale.lock_sale(p_sale);
  insert into flash_sale.orders (sale, buyer, state)
  select b.sale, p_buyer, case when b.in_stock > 0 or not b.is_closed then 'waiting' else 'sold-out' end
  from flash_sale.board b where b.sale = p_sale
  on conflict do nothing;
  if found then perform flash_sale.reserve_next(p_sale); end if;
  return (select o.state from flash_sale.orders o where o.sale = p_sale and o.buyer = p_buyer limit 1);
end $$;
comment on function flash_sale.place_order is 'Decides on an order, once; its state, or null when there is no such sale.';

-- Whichever commits first, payment or deadline, finds the order reserved. Recalling the message only spares its delivery.
create or replace function flash_sale.pay_order(p_sale integer, p_buyer text) returns text language plpgsql as $$
begin
  perform flash_sale.lock_sale(p_sale);
  perform sluice.recall(o.deadline_message) from flash_sale.orders o
    where o.sale = p_sale and o.buyer = p_buyer and o.state = 'reserved';
  update flash_sale.orders o set state = 'paid' where o.sale = p_sale and o.buyer = p_buyer and o.state = 'reserved';
  -- The last one is sold: nobody waits in vain.
  update flash_sale.orders o set state = 'sold-out' where o.sale = p_sale and o.state = 'waiting'
    and (select b.paid >= b.stock from flash_sale.board b where b.sale = p_sale);
  return (select o.state from flash_sale.orders o where o.sale = p_sale and o.buyer = p_buyer limit 1);
end $$;
comment on function flash_sale.pay_order is 'Sells the item that is reserved; the state afterwards, whatever it was, or null without an order.';

create or replace function flash_sale.return_unpaid(p_sale integer, p_buyer text) returns void language plpgsql as $$
begin
  perform flash_sale.lock_sale(p_sale);
  with unpaid as (
    update flash_sale.orders o set state = 'returned'
    where o.sale = p_sale and o.buyer = p_buyer and o.state = 'reserved' returning o.sale, o.buyer),
  moved as (insert into flash_sale.movements (sale, buyer, change) select sale, buyer, 1 from unpaid)
  update flash_sale.sales s set in_stock = s.in_stock + 1 from unpaid where s.sale = unpaid.sale;
  perform flash_sale.reserve_next(p_sale);
end $$;
comment on function flash_sale.return_unpaid is 'An item that was not paid in time goes to whoever waits longest, or back into the stock.';
