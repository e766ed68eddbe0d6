-- enqueue: – → waiting | delayed | blocked
-- Stores a chunk of jobs, all or none, in order.
--
-- KEYS  1 root
-- ARGV  1 time, then four for each job:
--         level      0 to 9
--         extra      '' for a plain job, else JSON: {id, due | delay (ms), unique, mode, owner, fields}
--                    mode 'return' (default) hands back an existing job of that id, 'rerun_finished' replaces an ended
--                    one; owner is noted where the job is joined; fields is a flat list of further entry fields
--         name       of the job
--         payload    JSON text, never read here
-- Returns {ids, existing}: the ids in order, and the positions (from 1) of those that existed already.
--
-- Every check and every read that could be refused for a wrong type comes before the first write; the first write is
-- one that a full Redis refuses, with nothing changed.
-- include: root places events moves
local jobs = {}
local meta = redis.call('HMGET', root .. 'meta', 'places')
local places = meta[1] or ''
redis.call('XLEN', root .. 'events')
redis.call('ZCARD', root .. 'bell')
local seen = {}
for i = 2, #ARGV, 4 do
  local level, extra = ARGV[i], ARGV[i + 1]
  if not seen[level] then
    redis.call('XLEN', root .. 'waiting:' .. level)
    seen[level] = true
  end
  if extra ~= '' then
    extra = cjson.decode(extra)
    redis.call('HLEN', root .. 'index')
    redis.call('HLEN', root .. 'unique')
    redis.call('HLEN', root .. 'ended')
    redis.call('HLEN', root .. 'joined')
    redis.call('ZCARD', root .. 'delayed')
    redis.call('ZCARD', root .. 'blocked')
    redis.call('ZCARD', root .. 'completed')
    redis.call('ZCARD', root .. 'failed')
    redis.call('ZCARD', root .. 'cancelled')
    if extra.id then redis.call('HLEN', root .. 'job:' .. extra.id) end
    if extra.unique then redis.call('LLEN', root .. 'held:' .. extra.unique) end
  else
    extra = nil
  end
  jobs[#jobs + 1] = {level, extra, ARGV[i + 2], ARGV[i + 3]}
end

local ids, existing, waiting, delayed, blocked = {}, {}, {}, {}, {}
local added = 0

local function join(position, id, owner)
  ids[position] = id
  existing[#existing + 1] = position
  if owner then
    local owners = redis.call('HGET', root .. 'joined', id)
    if not owners then
      redis.call('HSET', root .. 'joined', id, cjson.encode({owner}))
    else
      owners = cjson.decode(owners)
      for _, known in ipairs(owners) do
        if known == owner then return end
      end
      if #owners < 100 then
        owners[#owners + 1] = owner
        redis.call('HSET', root .. 'joined', id, cjson.encode(owners))
      end
    end
  end
end

-- The job that holds the key with the same name and payload, if any; and whether the key is held at all.
local function holder(key, digest)
  local owner = redis.call('HGET', root .. 'unique', key)
  if not owner then return nil, false end
  if string.sub(owner, 1, 40) == digest then return string.sub(owner, 42), true end
  for _, held in ipairs(redis.call('LRANGE', root .. 'held:' .. key, 0, -1)) do
    if string.sub(held, 1, 40) == digest then return string.sub(held, 42), true end
  end
  return nil, true
end

local function forget_ended(id)
  redis.call('HINCRBY', root .. 'meta', 'added', 0) -- a write that a full Redis refuses
  redis.call('ZREM', root .. 'completed', id)
  redis.call('ZREM', root .. 'failed', id)
  redis.call('ZREM', root .. 'cancelled', id)
  redis.call('HDEL', root .. 'ended', id)
  redis.call('HDEL', root .. 'joined', id)
  redis.call('DEL', root .. 'result:' .. id)
end

for position, job in ipairs(jobs) do
  local level, extra, name, payload = job[1], job[2], job[3], job[4]
  if not extra then
    places = open_place('waiting:' .. level, places)
    local id = level .. '-' .. redis.call('XADD', root .. 'waiting:' .. level, '*', 'name', name, 'payload', payload)
    ids[position] = id
    waiting[#waiting + 1] = id
    added = added + 1
  else
    local known = false
    if extra.id then
      if redis.call('HEXISTS', root .. 'index', extra.id) == 1 then
        known = true
      else
        local record = redis.call('HEXISTS', root .. 'ended', extra.id) == 1
          or redis.call('EXISTS', root .. 'result:' .. extra.id) == 1
        if record and extra.mode == 'rerun_finished' then
          forget_ended(extra.id)
        elseif record then
          known = true
        end
      end
    end
    local digest, same, taken
    if not known and extra.unique then
      digest = redis.sha1hex(name .. '\n' .. payload)
      same, taken = holder(extra.unique, digest)
    end
    if known then
      join(position, extra.id, extra.owner)
    elseif same then
      join(position, same, extra.owner)
    else
      local due = extra.due or (extra.delay and extra.delay > 0 and now + extra.delay)
      if due and due <= now then due = nil end
      local id = extra.id
      if not id and (due or taken) then
        id = string.format('%s-%d-s%d', level, now, redis.call('HINCRBY', root .. 'meta', 'sequence', 1))
      end
      local fields = {}
      if id then fields = {'id', id} end
      fields[#fields + 1] = 'name'
      fields[#fields + 1] = name
      fields[#fields + 1] = 'payload'
      fields[#fields + 1] = payload
      if extra.unique then
        fields[#fields + 1] = 'unique'
        fields[#fields + 1] = extra.unique
      end
      if extra.fields then
        for _, text in ipairs(extra.fields) do fields[#fields + 1] = text end
      end
      if id then
        fields[#fields + 1] = 'created'
        fields[#fields + 1] = now
      end
      if taken then
        redis.call('HSET', root .. 'job:' .. id, 'priority', level, unpack(fields))
        redis.call('ZADD', root .. 'blocked', now, id)
        redis.call('RPUSH', root .. 'held:' .. extra.unique, digest .. ' ' .. id)
        redis.call('HSET', root .. 'index', id, 'blocked ' .. extra.unique)
        blocked[#blocked + 1] = id
      elseif due then
        put_delayed(id, level, fields, due)
        delayed[#delayed + 1] = id
      else
        places = open_place('waiting:' .. level, places)
        local entry = redis.call('XADD', root .. 'waiting:' .. level, '*', unpack(fields))
        if id then
          redis.call('HSET', root .. 'index', id, 'waiting:' .. level .. ' ' .. entry)
        else
          id = level .. '-' .. entry
        end
        waiting[#waiting + 1] = id
      end
      if digest and not taken then redis.call('HSET', root .. 'unique', extra.unique, digest .. ' ' .. id) end
      ids[position] = id
      added = added + 1
    end
  end
end

if added > 0 then
  redis.call('HINCRBY', root .. 'meta', 'added', added)
  local news = {}
  local function add(state, list)
    if #list > 0 then
      news[#news + 1] = state
      news[#news + 1] = table.concat(list, ' ')
    end
  end
  add('waiting', waiting)
  add('delayed', delayed)
  add('blocked', blocked)
  tell(added, unpack(news))
  if #waiting > 0 or #delayed > 0 then ring() end
end
return {ids, existing}
