-- schedule_due: – (reads only)
-- The schedules whose next fire has come, earliest first, with what it takes to compute the fire that follows.
--
-- KEYS  1 root
-- ARGV  1 time  2 due ones to leave out at the front  3 at most so many
-- Returns {now, next fire that is not due yet (ms) or '', name, values, name, values, …}; values: revision, next_ms,
-- cron, tz, misfire, grace_ms, end_ms, resumed_ms, id_template, nil for what isn't there.
-- include: root
local due = redis.call('ZRANGEBYSCORE', root .. 'schedules', '-inf', now, 'LIMIT', ARGV[2], ARGV[3])
local head = redis.call('ZRANGEBYSCORE', root .. 'schedules', '(' .. string.format('%d', now), '(inf', 'WITHSCORES',
  'LIMIT', 0, 1)
local reply = {now, head[2] or ''}
for _, name in ipairs(due) do
  local values = redis.pcall('HMGET', root .. 'schedule:' .. name, 'revision', 'next_ms', 'cron', 'tz', 'misfire',
    'grace_ms', 'end_ms', 'resumed_ms', 'id_template')
  if values.err then values = {false, false, false, false, false, false, false, false, false} end
  reply[#reply + 1] = name
  reply[#reply + 1] = values
end
return reply
