-- What an app leaves behind on the schema of 0014, beside what 0004 knew: messages that wait to be tried again, are delayed, redriven or
-- held, a schedule, a paused position, a guarded topic.

select sluice.create_topic('orders', 2);
select sluice.send('orders', json_build_object('number', n), key => 'customer-' || n % 3, partition => n % 2) from generate_series(0, 29) as n;
commit;
select sluice.relay(sluice.take_duty(1, 'of then'), null, 1000);
commit;

-- The group has done 0 to 3 of partition 0, and 5 to 7; 2 it gave up; 4 failed twice and is due. Of partition 1 it has done nothing.
insert into sluice.consumer_group (name) values ('shipping');
select sluice.ensure_positions(1, 1, 'earliest');
select sluice.take_over(1, null, 100);
select sluice.put_off(1, 1, json_agg(json_build_object('offset', "offset", 'first', true, 'attempt', 2, 'delay_ms', 0, 'blocks', 'key',
  'id', id, 'key', key, 'value', value::text, 'headers', headers, 'timestamp_ms', 1000 * extract(epoch from "timestamp"), 'error', 'Error: no stock')))
from topics.orders where partition = 0 and "offset" = 4;
select sluice.commit_positions('{1}', '{1}', '{4}', array['{[4,8)}'], '{100}');
insert into sluice.dead_letter ("group", topic, partition, "offset", id, key, value, headers, "timestamp", reason, error, attempts)
select 1, 1, partition, "offset", id, key, value::text, headers, "timestamp", 'exhausted', 'Error: no stock', 5
from topics.orders where partition = 0 and "offset" = 2;
select sluice.release_position(1, 1);
select sluice.pause_group('shipping', 'orders', 1, 'until the upgrade is through');

-- Sent, and not in the log yet: by a transaction, and with a delay that is over.
select sluice.send('orders', json_build_object('number', n), key => 'customer-' || n % 3, partition => n % 2) from generate_series(30, 31) as n;
select sluice.send('orders', json_build_object('number', n), key => 'customer-' || n % 3, partition => n % 2, delay => '1 millisecond')
from generate_series(32, 33) as n;

-- Bounded at two: the third waits beside the log.
select sluice.create_topic('jobs', 1);
select sluice.guard_topic('jobs', max_depth => 2);
select sluice.send('jobs', json_build_object('number', n)) from generate_series(0, 2) as n;
commit;
select sluice.relay(sluice.take_duty(1, 'of then'), null, 1000);
commit;

select sluice.declare_schedule('nightly', 1, '0 3 * * *', null, 'Europe/Berlin', null, '{"number": 100}', '{}', 'once', 253402300799000, 'of then');
