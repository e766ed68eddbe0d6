-- clear: every state → –
-- Removes all jobs and records of a queue at one moment. Schedules, the paused flag, lifetime counters, workers' rows and
-- empty streams stay. What hangs on single jobs (hashes, kept results) goes to `trash:*`, which `tidy` empties in bounded
-- steps.
--
-- KEYS  1 root
-- ARGV  1 time  2 '1' where active jobs don't forbid it: their claims are lost  3 blocked jobs, or jobs in the lines of
--       their keys, to remove at most
-- Returns {'active', n} where it was refused; {'trash', 0} where an earlier trash is to be emptied first; {'more', n} where
-- n such jobs were removed and it is to be called again; {'cleared', n}: jobs and records removed by this call.
-- include: root places events limits moves finding endings removing
local places = redis.call('HGET', root .. 'meta', 'places') or ''
local limit = tonumber(ARGV[3])
check_removing(places)
redis.call('ZCARD', root .. 'workers')
local total, active = 0, 0
for place in string.gmatch(places, '%S+') do
  total = total + redis.call('XLEN', root .. place)
  local pending = redis.pcall('XPENDING', root .. place, 'workers')
  active = active + (not pending.err and pending[1] or 0)
end
if active > 0 and ARGV[2] ~= '1' then return {'active', active} end
for _, name in ipairs({'delayed', 'parked', 'ended', 'notes'}) do
  if redis.call('EXISTS', root .. 'trash:' .. name) == 1 then return {'trash', 0} end
end
local live = total + redis.call('ZCARD', root .. 'delayed') + redis.call('ZCARD', root .. 'parked')
local records = redis.call('HLEN', root .. 'ended') + redis.call('ZCARD', root .. 'dead')
local waiting_for_key = redis.call('ZRANGE', root .. 'blocked', 0, limit - 1)

redis.call('ZREM', root .. 'bell', '') -- a write that a full Redis accepts; after it nothing here is refused
local in_line = redis.call('ZRANGE', root .. 'keyed', 0, limit - 1)
if #in_line > 0 then
  for _, id in ipairs(in_line) do
    local state, _, place, fields = find(id)
    if fields then
      places = remove_live(id, state, place, fields, nil, places)
    else -- its body is gone
      leave_line(id, string.match(redis.call('HGET', root .. 'index', id) or '', '^keyed (.*)$') or '')
      redis.call('HDEL', root .. 'index', id)
      redis.call('HINCRBY', root .. 'meta', 'removed', 1)
    end
  end
  tell(#in_line, 'removed', table.concat(in_line, ' '))
  return {'more', #in_line}
end
local removed = {}
for _, id in ipairs(waiting_for_key) do
  local key = string.match(redis.call('HGET', root .. 'index', id) or '', '^blocked (.*)$')
  if key then
    local held = redis.pcall('LRANGE', root .. 'held:' .. key, 0, -1)
    for _, one in ipairs(held) do
      if string.sub(one, 42) == id then redis.call('LREM', root .. 'held:' .. key, 1, one) end
    end
  end
  redis.call('ZREM', root .. 'blocked', id)
  redis.call('HDEL', root .. 'index', id)
  redis.call('HDEL', root .. 'joined', id)
  redis.call('HDEL', root .. 'runs', id)
  redis.call('ZREM', root .. 'waited', id)
  redis.call('DEL', root .. 'job:' .. id)
  forget_notes({id})
end
redis.call('HINCRBY', root .. 'meta', 'removed', #waiting_for_key)
if redis.call('ZCARD', root .. 'blocked') > 0 then
  tell(#waiting_for_key, 'removed', table.concat(waiting_for_key, ' '))
  return {'more', #waiting_for_key}
end

if active > 0 then
  for place in string.gmatch(places, '%S+') do
    local pending = redis.pcall('XPENDING', root .. place, 'workers', '-', '+', 1000)
    for _, held in ipairs(pending) do
      local entry = redis.call('XRANGE', root .. place, held[1], held[1])[1]
      local id = entry and field_of(entry[2], 'id') or string.sub(place, -1) .. '-' .. held[1]
      call_off(id, held[2], place, held[1], 'the queue was cleared')
    end
  end
end
for place in string.gmatch(places, '%S+') do
  -- A stream that began anew could give an id once more, and a claim of the old entry would count for the new job.
  local last
  local about = redis.pcall('XINFO', 'STREAM', root .. place)
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then last = about[i + 1] end
  end
  redis.call('UNLINK', root .. place)
  redis.call('XGROUP', 'CREATE', root .. place, 'workers', '0', 'MKSTREAM')
  if last then redis.call('XSETID', root .. place, last) end
end
for _, name in ipairs({'delayed', 'parked', 'ended', 'notes'}) do
  if redis.call('EXISTS', root .. name) == 1 then redis.call('RENAME', root .. name, root .. 'trash:' .. name) end
end
for _, name in ipairs({'index', 'unique', 'joined', 'runs', 'waited', 'completed', 'failed', 'cancelled', 'dead',
  'buried', 'cancelling', 'turns', 'resting', 'holding', 'running'}) do
  redis.call('UNLINK', root .. name)
end
redis.call('HDEL', root .. 'meta', 'watch', 'keyed', 'limited_until')
redis.call('HINCRBY', root .. 'meta', 'removed', live)
tell(1, 'cleared', '')
return {'cleared', #waiting_for_key + live + records}
