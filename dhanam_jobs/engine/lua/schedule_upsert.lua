-- schedule_upsert: – (nothing moves)
-- Makes a schedule or changes it. Its next fire stays where cron, zone, start and end stay the same, so that a tick that
-- is due is not lost; else it is the given one. The paused flag, the count and the last run stay.
--
-- KEYS  1 root
-- ARGV  1 time  2 name  3 owner ('operator', or an application)  4 instant (ms) after which the caller computed the next
--       fire  5 that next fire (ms, '' for none)  6… pairs of field and value of the definition ('' for none)
-- Returns {'created' | 'changed' | 'same', now}
-- | {'again', now}: the fire was computed for a time that is not now, nothing was changed, compute it anew
-- | {'owned', now, owner}: it belongs to an application, and the caller is another one or an operator.
-- include: root
local name, owner, from, next_ms = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local row = root .. 'schedule:' .. name
local flat = redis.call('HGETALL', row)
redis.call('ZCARD', root .. 'schedules')
redis.call('HLEN', root .. 'meta')
local known = {}
for i = 1, #flat, 2 do known[flat[i]] = flat[i + 1] end
if known.owner and known.owner ~= owner and known.owner ~= 'operator' then return {'owned', now, known.owner} end
-- Between the two instants no fire was passed over, or the caller is hardly late.
if from > now or (next_ms ~= '' and tonumber(next_ms) <= now and now - from > 2000) then return {'again', now} end

local wanted = {owner = owner}
for i = 6, #ARGV, 2 do wanted[ARGV[i]] = ARGV[i + 1] end
local same = known.revision ~= nil
for field, value in pairs(wanted) do
  if (known[field] or '') ~= value then same = false end
end
local on_time = known.revision ~= nil
for _, field in ipairs({'cron', 'tz', 'start_ms', 'end_ms'}) do
  if (known[field] or '') ~= wanted[field] then on_time = false end
end
if on_time and (known.next_ms or '') ~= '' then next_ms = known.next_ms end
local limit = tonumber(wanted.limit)
if limit and tonumber(known.count or 0) >= limit then next_ms = '' end
if same and next_ms == known.next_ms then return {'same', now} end

local fields, gone = {}, {}
for field, value in pairs(wanted) do
  if value == '' then
    gone[#gone + 1] = field
  else
    fields[#fields + 1] = field
    fields[#fields + 1] = value
  end
end
redis.call('HSET', row, 'updated_ms', now, 'next_ms', next_ms, unpack(fields))
if #gone > 0 then redis.call('HDEL', row, unpack(gone)) end
redis.call('HSET', row, 'revision', redis.call('HINCRBY', root .. 'meta', 'sequence', 1))
redis.call('HSETNX', row, 'created_ms', now)
redis.call('ZADD', root .. 'schedules', (known.paused_ms or next_ms == '') and 'inf' or next_ms, name)
return {known.revision and 'changed' or 'created', now}
