-- Runs of schedules: the jobs that ticks and operators start. Needs root, places, events, moves.
-- A run that has not ended stands in the hash `runs` with its schedule's name; its end moves its record to the schedule.

local function read_schedule(name)
  local row = redis.call('HMGET', root .. 'schedule:' .. name, 'revision', 'next_ms', 'paused_ms', 'job', 'payload',
    'priority', 'unique', 'fields', 'overlap', 'count', 'limit', 'skipped', 'last_id', 'expires_ms')
  if not row[1] then return nil end
  return {revision = row[1], next_ms = row[2] or '', paused_ms = row[3], job = row[4], payload = row[5],
    priority = row[6], unique = row[7] or nil, fields = cjson.decode(row[8] or '[]'), overlap = row[9],
    count = tonumber(row[10] or 0), limit = tonumber(row[11] or nil), skipped = tonumber(row[12] or 0),
    last_id = row[13] or nil, expires_ms = tonumber(row[14] or nil)}
end

-- The unique key under which the runs stand in line: the job's own, else the schedule's where runs may not overlap.
local function key_of(name, schedule)
  return schedule.unique or (schedule.overlap ~= 'allow' and 'schedule:' .. name) or nil
end

-- Every read that a key of a wrong type would refuse, before the first write.
local function check_run(name, schedule)
  redis.call('XLEN', root .. 'events')
  redis.call('ZCARD', root .. 'bell')
  redis.call('ZCARD', root .. 'blocked')
  redis.call('ZCARD', root .. 'schedules')
  redis.call('HLEN', root .. 'index')
  redis.call('HLEN', root .. 'unique')
  redis.call('HLEN', root .. 'ended')
  redis.call('HLEN', root .. 'runs')
  redis.call('XLEN', root .. 'waiting:' .. schedule.priority)
  local key = key_of(name, schedule)
  if key then redis.call('LLEN', root .. 'held:' .. key) end
end

-- Starts a run, unless a job of that id exists. Behind a run that goes on, an operator's (`by_hand`) always waits, a
-- tick's as `overlap` says. Returns places, id and 'waiting' | 'blocked' | 'existed' | 'joined' | 'skipped'.
local function start_run(places, name, schedule, id, instant, by_hand)
  if redis.call('HEXISTS', root .. 'index', id) == 1 or redis.call('HEXISTS', root .. 'ended', id) == 1
    or redis.call('EXISTS', root .. 'result:' .. id) == 1 then
    return places, id, 'existed'
  end
  local key, digest, held = key_of(name, schedule), nil, nil
  if key then
    digest = redis.sha1hex(schedule.job .. '\n' .. schedule.payload)
    held = redis.call('HGET', root .. 'unique', key)
    if held then
      if schedule.overlap == 'skip' and not by_hand then return places, id, 'skipped' end
      local line = redis.call('LRANGE', root .. 'held:' .. key, 0, -1)
      local joins = schedule.unique and (by_hand or schedule.overlap == 'allow')
      if joins then table.insert(line, 1, held) end
      for _, one in ipairs(line) do
        if string.sub(one, 1, 40) == digest then
          if joins then
            local other = string.sub(one, 42)
            redis.call('HSETNX', root .. 'runs', other, name)
            return places, other, 'joined'
          end
          if not by_hand then return places, id, 'skipped' end
        end
      end
    end
  end
  local last = schedule.last_id
  if last and redis.call('HEXISTS', root .. 'index', last) == 0 then
    redis.call('HDEL', root .. 'runs', last) -- it was removed, so it never ended
  end
  local fields = {'id', id, 'name', schedule.job, 'payload', schedule.payload}
  if key then
    fields[#fields + 1] = 'unique'
    fields[#fields + 1] = key
  end
  if schedule.expires_ms then
    fields[#fields + 1] = 'expires'
    fields[#fields + 1] = string.format('%d', now + schedule.expires_ms)
  end
  for _, text in ipairs(schedule.fields) do fields[#fields + 1] = text end
  fields[#fields + 1] = 'meta'
  fields[#fields + 1] = string.format('{"schedule":"%s","scheduled_ms":%s}', name, instant)
  fields[#fields + 1] = 'created'
  fields[#fields + 1] = now
  redis.call('HSET', root .. 'runs', id, name)
  redis.call('HINCRBY', root .. 'meta', 'added', 1)
  if held then
    redis.call('DEL', root .. 'job:' .. id)
    redis.call('HSET', root .. 'job:' .. id, 'priority', schedule.priority, unpack(fields))
    redis.call('ZADD', root .. 'blocked', now, id)
    redis.call('RPUSH', root .. 'held:' .. key, digest .. ' ' .. id)
    redis.call('HSET', root .. 'index', id, 'blocked ' .. key)
    return places, id, 'blocked'
  end
  places = put_waiting('waiting:' .. schedule.priority, id, fields, places)
  if key then redis.call('HSET', root .. 'unique', key, digest .. ' ' .. id) end
  return places, id, 'waiting'
end

-- Tells of the runs that a script started, by state, and rings.
local function tell_runs(waiting, blocked)
  local news = {}
  if #waiting > 0 then news = {'waiting', table.concat(waiting, ' ')} end
  if #blocked > 0 then
    news[#news + 1] = 'blocked'
    news[#news + 1] = table.concat(blocked, ' ')
  end
  if #news > 0 then tell(#waiting + #blocked, unpack(news)) end
  if #waiting > 0 then ring() end
end
