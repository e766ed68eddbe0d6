-- retry: completed | failed | cancelled | dead letter → waiting | blocked
-- Puts jobs that have ended back to the end of their level, under their own ids, as if they had never run; one whose
-- unique key is held waits for the holder. A record that is no longer the one that the caller read is left alone.
--
-- KEYS  1 root
-- ARGV  1 time  2 'ended' or 'dead', then seven for each job (a few hundred at most): id, SHA-1 of the record that was
--       read, level, unique key or '', name, payload (JSON text), further entry fields (JSON: a flat list)
-- Returns one verdict for each job: 'revived', or 'held' where it now waits for the holder of its key; 'changed' where its
-- record is another by now; 'missing' where there is none; or the state that the job is in.
-- include: root places events limits moves finding
local places = redis.call('HGET', root .. 'meta', 'places') or ''
local dead = ARGV[2] == 'dead'
check_places(places, true)
redis.call('XLEN', root .. 'events')
redis.call('ZCARD', root .. 'bell')
for _, name in ipairs({'completed', 'failed', 'cancelled', 'blocked', 'dead', 'delayed', 'parked'}) do
  redis.call('ZCARD', root .. name)
end
for _, name in ipairs({'index', 'unique', 'ended', 'buried'}) do redis.call('HLEN', root .. name) end
local verdicts, jobs, seen = {}, {}, {}
for i = 3, #ARGV, 7 do
  local id, key = ARGV[i], ARGV[i + 3]
  local record = redis.call('HGET', root .. (dead and 'buried' or 'ended'), id)
  if not dead and not record then record = redis.call('GET', root .. 'result:' .. id) end
  local state, detail
  if dead or not record or redis.call('HEXISTS', root .. 'index', id) == 1 then state, detail = find(id) end
  if state == 'ended' then
    -- The result of the very job, kept for a waiter beside the dead letter, is no other job.
    state = detail ~= record and string.match(detail, '"state":"(%a+)"') or nil
  end
  local verdict = 'revived'
  if state then
    verdict = state
  elseif not record or seen[id] then
    verdict = 'missing'
  elseif redis.sha1hex(record) ~= ARGV[i + 1] then
    verdict = 'changed'
  else
    seen[id] = true
    if key ~= '' then redis.call('LLEN', root .. 'held:' .. key) end
    redis.call('HLEN', root .. 'job:' .. id)
    jobs[#jobs + 1] = {i, #verdicts + 1}
  end
  verdicts[#verdicts + 1] = verdict
end
if #jobs == 0 then return verdicts end
redis.call('HINCRBY', root .. 'meta', 'revived', #jobs) -- a write that a full Redis refuses, with nothing changed
local waiting, blocked = {}, {}
for _, job in ipairs(jobs) do
  local i = job[1]
  local id, level, key, name, payload = ARGV[i], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
  for _, list in ipairs({'completed', 'failed', 'cancelled', 'dead'}) do redis.call('ZREM', root .. list, id) end
  redis.call('HDEL', root .. 'ended', id)
  redis.call('HDEL', root .. 'buried', id)
  redis.call('DEL', root .. 'result:' .. id)
  local fields = {'id', id, 'name', name, 'payload', payload}
  if key ~= '' then
    fields[#fields + 1] = 'unique'
    fields[#fields + 1] = key
  end
  for _, text in ipairs(cjson.decode(ARGV[i + 6])) do fields[#fields + 1] = text end
  local digest = key ~= '' and redis.sha1hex(name .. '\n' .. payload)
  if digest and redis.call('HEXISTS', root .. 'unique', key) == 1 then
    keep_fields(id, level, fields)
    redis.call('ZADD', root .. 'blocked', now, id)
    redis.call('RPUSH', root .. 'held:' .. key, digest .. ' ' .. id)
    redis.call('HSET', root .. 'index', id, 'blocked ' .. key)
    blocked[#blocked + 1] = id
    verdicts[job[2]] = 'held'
  else
    places = put_waiting('waiting:' .. level, id, fields, places)
    if digest then redis.call('HSET', root .. 'unique', key, digest .. ' ' .. id) end
    waiting[#waiting + 1] = id
  end
end
local news = {}
if #waiting > 0 then
  news = {'waiting', table.concat(waiting, ' ')}
  ring()
end
if #blocked > 0 then
  news[#news + 1] = 'blocked'
  news[#news + 1] = table.concat(blocked, ' ')
end
tell(#jobs, unpack(news))
return verdicts
