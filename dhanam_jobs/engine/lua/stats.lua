-- stats: – (reads only)
-- Counts of a queue, all of one moment.
--
-- KEYS  1 root
-- ARGV  1 time
-- Returns {waiting, active, delayed, blocked, parked, completed, failed, cancelled (lifetime endings), retained
-- completed, failed, cancelled, added (lifetime), paused since ms or 0, workers, dead letters, then per place:
-- place, waiting, active, …}.
-- include: root
local meta = redis.call('HMGET', root .. 'meta', 'places', 'completed', 'failed', 'cancelled', 'added', 'paused')
local waiting, active, by_place = 0, 0, {}
for place in string.gmatch(meta[1] or '', '%S+') do
  local pending = redis.pcall('XPENDING', root .. place, 'workers')
  local held = not pending.err and pending[1] or 0
  local rest = redis.call('XLEN', root .. place) - held
  waiting = waiting + rest
  active = active + held
  by_place[#by_place + 1] = place
  by_place[#by_place + 1] = rest
  by_place[#by_place + 1] = held
end
-- Jobs that wait in the lines of their keys.
if redis.call('ZCARD', root .. 'keyed') > 0 then
  for level = 0, 9 do
    local low, high = string.format('%.0f', level * 2e14), string.format('(%.0f', level * 2e14 + 2e14)
    local count = redis.call('ZCOUNT', root .. 'keyed', low, high)
    if count > 0 then
      waiting = waiting + count
      by_place[#by_place + 1] = 'keyed:' .. level
      by_place[#by_place + 1] = count
      by_place[#by_place + 1] = 0
    end
  end
end
local delayed = redis.call('ZCARD', root .. 'delayed')
local parked = redis.call('ZCARD', root .. 'parked')
local blocked = redis.call('ZCARD', root .. 'blocked')
return {waiting, active, delayed, blocked, parked, tonumber(meta[2] or 0), tonumber(meta[3] or 0),
  tonumber(meta[4] or 0), redis.call('ZCARD', root .. 'completed'), redis.call('ZCARD', root .. 'failed'),
  redis.call('ZCARD', root .. 'cancelled'), tonumber(meta[5] or 0), tonumber(meta[6] or 0),
  redis.call('ZCARD', root .. 'workers'), redis.call('ZCARD', root .. 'dead'), unpack(by_place)}
