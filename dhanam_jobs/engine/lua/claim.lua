-- claim: waiting → active | failed (expired); and delayed → waiting for what is due
-- Hands at most `want` jobs to a worker, most urgent level first, front before waiting, first in first out.
--
-- KEYS  1 root
-- ARGV  1 time  2 worker  3 call number  4 want (at least 1)  5 fair (of these, the oldest of any level)
--       6 failed records to keep ('' all)
-- Returns {'dead', now} | {'stale', now, verdicts} | {'paused', now} | {'ok', now, '', next due ms or '', place,
-- entries, …, 'late', expired}: the last two where jobs expired, a flat list of ids and
-- names. 'stale': a later call of this worker was seen; nothing was claimed.
-- include: root calls places events limits moves claiming
if tonumber(ARGV[3]) <= tonumber(last[1]) then return {'stale', now, last[2]} end
local meta = redis.call('HMGET', root .. 'meta', 'places', 'paused', 'limit', 'limited_until', 'keyed')
redis.call('XLEN', root .. 'events')
check_places(meta[1] or '', meta[5] or any_due())
redis.call('ZREM', root .. 'bell', '') -- a write that a full Redis accepts; after it nothing here is refused
redis.call('HSET', row, 'call', ARGV[3], 'settled', ARGV[3], 'verdicts', '')
local places = promote(meta[1] or '', 200)
if meta[2] then return {'paused', now} end
local taken, due = claim(ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5]), places, meta[3], meta[4],
  meta[5] or noted_keyed)
if late then
-- include: endings records hooks expiry
fail_expired(late, ARGV[2], redis.call('HGET', root .. 'meta', 'places'), ARGV[6] or '', taken)
end
return {'ok', now, '', due, unpack(taken)}
