-- enqueue: – → waiting | delayed | blocked; waiting | delayed | blocked → delayed | blocked with newer data
-- Stores a chunk of jobs, all or none, in order.
--
-- KEYS  1 root
-- ARGV  1 time, then four for each job:
--         level      0 to 9
--         extra      '' for a plain job, else JSON: {id, mode, due | delay (ms), expires_at | expires (ms after it may
--                    run), unique, unique_mode, period, max_wait (ms), owner, fields, parent, line, children}
--                    mode 'return' (default) hands back an existing job of that id, 'rerun_finished' replaces an ended
--                    one; unique_mode throttle | debounce | keep_last, none: wait; owner is noted where the job is
--                    joined; fields is a flat list of further entry fields;
--                    parent is '<queue> <id> <key> <token>' of the job that waits for this one, which has an id then, the
--                    token new where a child is asked for anew; line has a line '<queue> <id>' for each that waits for
--                    that one, and so on: where this job would be one of them, or would wait for the unique key of one,
--                    nothing is stored, and its parent is told that it failed; children, of a new job with an id and
--                    neither key nor delay, are flat threes as `add_children` takes them: it is blocked until they have
--                    ended
--         name       of the job
--         payload    JSON text, never read here
-- Returns {ids, existing}: the ids in order, and the positions (from 1) of those that existed already; or {'full',
-- length, limit, wanted} where the queue has no room for the chunk, and nothing was changed.
--
-- Every check and every read that could be refused for a wrong type comes before the first write; the first write is
-- one that a full Redis refuses, with nothing changed.
-- include: root places events limits moves finding uniqueness families circles
local jobs = {}
local meta = redis.call('HMGET', root .. 'meta', 'places', 'max_length')
local places, max_length = meta[1] or '', tonumber(meta[2])
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
    if extra.fields and limit_key(extra.fields) and not seen.line then
      seen.line = true
      check_places(places, true)
    end
    if extra.parent then
      redis.call('HLEN', root .. 'parents')
      redis.call('HLEN', root .. 'handover')
      redis.call('ZCARD', root .. 'handed')
    end
    if extra.children then
      redis.call('HLEN', root .. 'families')
      redis.call('HLEN', root .. 'planned')
      redis.call('HLEN', root .. 'children:' .. extra.id)
    end
    if extra.id then
      redis.call('HLEN', root .. 'job:' .. extra.id)
      redis.call('HLEN', root .. 'notes')
    end
    if extra.unique then
      redis.call('LLEN', root .. 'held:' .. extra.unique)
      redis.call('STRLEN', root .. 'throttled:' .. extra.unique)
      if extra.unique_mode then check_places(places, true) end
    end
  else
    extra = nil
  end
  jobs[#jobs + 1] = {level, extra, ARGV[i + 2], ARGV[i + 3]}
end

if max_length then
  local length = redis.call('ZCARD', root .. 'delayed') + redis.call('ZCARD', root .. 'blocked')
    + redis.call('ZCARD', root .. 'parked') + redis.call('ZCARD', root .. 'keyed')
  for place in string.gmatch(places, '%S+') do
    local pending = redis.pcall('XPENDING', root .. place, 'workers')
    length = length + redis.call('XLEN', root .. place) - (pending.err and 0 or pending[1])
  end
  local wanted = 0
  for _, job in ipairs(jobs) do
    local what = job[2] and decide(job[2], job[3], job[4]) or 'new'
    if what == 'new' or what == 'held' then wanted = wanted + 1 end
  end
  if wanted > 0 and length + wanted > max_length then return {'full', length, max_length, wanted} end
end

local ids, existing, waiting, delayed, blocked, replaced = {}, {}, {}, {}, {}, {}
local added = 0

-- Notes one more owner of a job, as long as there is anything of it that a note could go with.
local function note_owner(id, owner)
  local owners = redis.call('HGET', root .. 'joined', id)
  owners = owners and cjson.decode(owners) or {}
  for _, known in ipairs(owners) do
    if known == owner then return end
  end
  if #owners >= 100 then return end
  if redis.call('HEXISTS', root .. 'ended', id) == 0 then
    local state = find(id)
    if not state or state == 'ended' then return end
  end
  owners[#owners + 1] = owner
  redis.call('HSET', root .. 'joined', id, cjson.encode(owners))
end

local function join(position, id, owner)
  ids[position] = id
  existing[#existing + 1] = position
  if owner then note_owner(id, owner) end
end

-- Notes who waits for a job; where it has ended, its end is handed over.
local function link(id, parent)
  if redis.call('HEXISTS', root .. 'handover', parent) == 1 or redis.call('ZSCORE', root .. 'handed', parent) then
    return
  end
  local state, record = find(id)
  if not state or state == 'ended' then
    local text = record or '{"id":' .. cjson.encode(id) .. ',"state":"removed"}'
    redis.call('HSET', root .. 'handover', parent, text)
    return
  end
  local links = redis.call('HGET', root .. 'parents', id)
  for known in string.gmatch(links or '', '[^\n]+') do
    if known == parent then return end
  end
  redis.call('HSET', root .. 'parents', id, links and links .. '\n' .. parent or parent)
end

-- The circle in which a child would wait with its parent, or nil: `id` is the job that it joins, or whose key it waits for.
local function waits_in_circle(extra, id)
  local own_queue = string.match(KEYS[1], '{(.*)}$')
  local place = own_queue .. ' ' .. id
  local parent_queue, parent = string.match(extra.parent, '^(%S+) (%S+)')
  local line = (extra.line or parent_queue .. ' ' .. parent) .. '\n'
  local from = string.find('\n' .. line, '\n' .. place .. '\n', 1, true)
  if from then return string.sub(line, from) .. place end
  if parent_queue ~= own_queue then return nil end
  local waiters = waiters_of(own_queue, parent)
  return waiters[place] and circle_of(waiters, place)
end

-- Tells a parent that its child failed, since they would wait for each other.
local function refuse(position, extra, line)
  local why = 'these wait for each other: ' .. string.gsub(line, '\n', ' → ')
  redis.call('HSETNX', root .. 'handover', extra.parent, '{"id":' .. cjson.encode(extra.id)
    .. ',"state":"failed","error":{"type":"CircularWait","message":' .. cjson.encode(why) .. '}}')
  ids[position] = extra.id
  existing[#existing + 1] = position
end

local function forget_ended(id)
  redis.call('HINCRBY', root .. 'meta', 'added', 0) -- a write that a full Redis refuses
  redis.call('ZREM', root .. 'completed', id)
  redis.call('ZREM', root .. 'failed', id)
  redis.call('ZREM', root .. 'cancelled', id)
  redis.call('HDEL', root .. 'ended', id)
  redis.call('HDEL', root .. 'joined', id)
  redis.call('HDEL', root .. 'notes', id)
  redis.call('DEL', root .. 'result:' .. id, root .. 'log:' .. id)
end

-- When the job may run (nil: now), and the fields of its entry; `created` nil leaves it to the entry's own id.
local function due_of(extra, created)
  local due = extra.due or (extra.delay and extra.delay > 0 and now + extra.delay)
  if extra.unique_mode == 'debounce' then
    due = now + extra.period
    if extra.max_wait then due = math.min(due, created + extra.max_wait) end
  end
  if due and due > now then return due end
end

local function fields_of(id, extra, name, payload, due, created)
  local fields = {}
  if id then fields = {'id', id} end
  fields[#fields + 1] = 'name'
  fields[#fields + 1] = name
  fields[#fields + 1] = 'payload'
  fields[#fields + 1] = payload
  if extra.unique and extra.unique_mode ~= 'throttle' then
    fields[#fields + 1] = 'unique'
    fields[#fields + 1] = extra.unique
    if extra.unique_mode then
      fields[#fields + 1] = 'unique_mode'
      fields[#fields + 1] = extra.unique_mode
    end
  end
  local expires = extra.expires_at or (extra.expires and (due or now) + extra.expires)
  if expires then
    fields[#fields + 1] = 'expires'
    fields[#fields + 1] = string.format('%d', expires)
  end
  if extra.line then
    fields[#fields + 1] = 'line'
    fields[#fields + 1] = extra.line
  end
  if extra.fields then
    for _, text in ipairs(extra.fields) do fields[#fields + 1] = text end
  end
  if created then
    fields[#fields + 1] = 'created'
    fields[#fields + 1] = created
  end
  return fields
end

local function block(id, level, fields, due)
  redis.call('HINCRBY', root .. 'meta', 'added', 0) -- a write that a full Redis refuses
  keep_fields(id, level, fields)
  if due then redis.call('HSET', root .. 'job:' .. id, 'due', string.format('%d', due)) end
end

-- Newer data for a job that has not started: all but its id, its creation and its owners is the caller's.
local function replace(id, state, place, old, entry, extra, level, name, payload)
  redis.call('HINCRBY', root .. 'meta', 'added', 0) -- a write that a full Redis refuses
  local key, where = extra.unique, redis.call('HGET', root .. 'index', id) or ''
  local created = created_of(old, entry)
  local known, about = pcall(cjson.decode, field_of(old, 'meta') or '')
  if known and type(about) == 'table' and type(about.owners) == 'table' then
    for _, owner in ipairs(about.owners) do note_owner(id, owner) end
  end
  local due = due_of(extra, created)
  if state == 'delayed' then
    local member = string.match(where, '^delayed (.*)$')
    if extra.unique_mode == 'keep_last' then due = tonumber(redis.call('ZSCORE', root .. 'delayed', member)) end
    redis.call('ZREM', root .. 'delayed', member)
  end
  local fields = fields_of(id, extra, name, payload, due, created)
  local holder = digest_of(name, payload) .. ' ' .. id
  if state == 'blocked' then
    block(id, level, fields, due)
    redis.call('LSET', root .. 'held:' .. key, -1, holder)
  else
    if state == 'waiting' then
      if entry then redis.call('XDEL', root .. place, entry) else leave_line(id, limit_key(old)) end
    end
    put_delayed(id, level, fields, due or now)
    redis.call('HSET', root .. 'unique', key, holder)
    if state == 'waiting' then delayed[#delayed + 1] = id end
  end
  replaced[#replaced + 1] = id
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
    local what, known, state, place, old, entry = decide(extra, name, payload)
    local before = known
    if what == 'held' and extra.parent then before = string.sub(redis.call('HGET', root .. 'unique', extra.unique), 42) end
    local line = extra.parent and before and redis.call('HEXISTS', root .. 'index', before) == 1
      and waits_in_circle(extra, before)
    if line then
      refuse(position, extra, line)
    elseif what == 'join' then
      join(position, known, extra.owner)
    elseif what == 'replace' then
      replace(known, state, place, old, entry, extra, level, name, payload)
      join(position, known, extra.owner)
    else
      local key, taken = extra.unique, what == 'held'
      local throttled = extra.unique_mode == 'throttle'
      if extra.id and extra.mode == 'rerun_finished' then forget_ended(extra.id) end
      local due = due_of(extra, now)
      local id = extra.id
      local limited = extra.fields and limit_key(extra.fields)
      if not id and (due or taken or limited) then
        id = string.format('%s-%d-s%d', level, now, redis.call('HINCRBY', root .. 'meta', 'sequence', 1))
      end
      local fields = fields_of(id, extra, name, payload, due, id and now)
      if extra.children and #extra.children > 0 then
        redis.call('HINCRBY', root .. 'meta', 'added', 0) -- a write that a full Redis refuses
        for i = 1, #extra.children, 3 do
          adopt(id, extra.children[i], extra.children[i + 1], extra.children[i + 2])
        end
        block_for_children(id, level, fields)
        blocked[#blocked + 1] = id
      elseif taken then
        block(id, level, fields, due)
        redis.call('ZADD', root .. 'blocked', now, id)
        redis.call('RPUSH', root .. 'held:' .. key, digest_of(name, payload) .. ' ' .. id)
        redis.call('HSET', root .. 'index', id, 'blocked ' .. key)
        blocked[#blocked + 1] = id
      elseif due then
        put_delayed(id, level, fields, due)
        delayed[#delayed + 1] = id
      elseif limited then
        redis.call('HINCRBY', root .. 'meta', 'added', 0) -- a write that a full Redis refuses
        line_up(id, limited, tonumber(level), false, fields)
        waiting[#waiting + 1] = id
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
      if throttled then
        redis.call('SET', root .. 'throttled:' .. key, string.format('%d %s', now + extra.period, id), 'PX',
          extra.period + spare)
      elseif key and not taken then
        redis.call('HSET', root .. 'unique', key, digest_of(name, payload) .. ' ' .. id)
      end
      ids[position] = id
      added = added + 1
    end
    if extra.parent and not line then link(ids[position], extra.parent) end
  end
end

if added > 0 or #replaced > 0 then
  if added > 0 then redis.call('HINCRBY', root .. 'meta', 'added', added) end
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
  add('replaced', replaced)
  tell(added + #replaced, unpack(news))
  if #waiting > 0 or #delayed > 0 or #replaced > 0 then ring() end
end
return {ids, existing}
