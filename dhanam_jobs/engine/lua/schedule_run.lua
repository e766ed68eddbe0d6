-- schedule_run: – → waiting | blocked
-- Starts a run by hand, paused or not; neither the next fire nor the limit takes note of it. Where runs may not overlap
-- it waits for the one that goes on.
--
-- KEYS  1 root
-- ARGV  1 time  2 name
-- Returns {} where there is no such schedule, else {id, job name, 'waiting' | 'blocked' | 'joined'}.
-- include: root places events limits moves runs
local name = ARGV[2]
local places = redis.call('HGET', root .. 'meta', 'places') or ''
local schedule = read_schedule(name)
if not schedule then return {} end
check_run(name, schedule)
local number = redis.call('HINCRBY', root .. 'meta', 'sequence', 1)
local id, what = string.format('%s-run-%d', name, number), nil
places, id, what = start_run(places, name, schedule, id, string.format('%d', now), true)
redis.call('HSET', root .. 'schedule:' .. name, 'last_ms', string.format('%d', now), 'last_id', id)
tell_runs(what == 'waiting' and {id} or {}, what == 'blocked' and {id} or {})
return {id, schedule.job, what}
