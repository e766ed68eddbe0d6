-- Who holds a unique key, and what becomes of one more job that asks for it. Needs root, places, events, limits, moves,
-- finding.
-- `unique` maps a key to `<SHA-1 of name and payload> <id>` of its holder; `held:<key>` lists, in the same form, the jobs
-- that wait for it; `throttled:<key>` is `<until ms> <id>`. A job's field `unique_mode` says that newer data may take
-- the place of its own until it starts.

local function digest_of(name, payload)
  return redis.sha1hex(name .. '\n' .. payload)
end

-- True where the job has run, or was about to: what was started keeps its data.
local function has_started(id, place, fields)
  if string.find(place, '^front:') then return true end
  local in_line = redis.call('ZSCORE', root .. 'keyed', id)
  if in_line and math.floor(in_line / STEP) % 2 == 0 then return true end
  for i = 1, #fields, 2 do
    local field = fields[i]
    if field == 'attempt' or field == 'stalls' or field == 'snoozes' or field == 'waits' then return true end
  end
  return false
end

local function field_of(fields, name)
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
end

-- When a job was stored (ms): a job that never moved has no field for it, but its entry tells.
local function created_of(fields, entry)
  return tonumber(field_of(fields, 'created') or string.match(entry or '', '^%d+')) or now
end

-- Reads only. Returns 'join', id | 'replace', id, state, place, fields, entry | 'held' (the job must wait for the key)
-- | 'new'; request is what enqueue's `extra` says.
local function decide(request, name, payload)
  local id, key, mode = request.id, request.unique, request.unique_mode
  -- A child whose end is on its way to its parent, or was handed over just now, has run.
  if request.parent and (redis.call('HEXISTS', root .. 'handover', request.parent) == 1
    or redis.call('ZSCORE', root .. 'handed', request.parent)) then return 'join', id end
  if id then
    if redis.call('HEXISTS', root .. 'index', id) == 1 then return 'join', id end
    if request.mode ~= 'rerun_finished' and (redis.call('HEXISTS', root .. 'ended', id) == 1
      or redis.call('EXISTS', root .. 'result:' .. id) == 1) then return 'join', id end
  end
  if not key then return 'new' end
  if mode == 'throttle' then
    local until_ms, first = string.match(redis.call('GET', root .. 'throttled:' .. key) or '', '^(%d+) (.*)$')
    if until_ms and tonumber(until_ms) > now then return 'join', first end
    return 'new'
  end
  local owner = redis.call('HGET', root .. 'unique', key)
  if not owner then return 'new' end
  local digest = digest_of(name, payload)
  if not mode then
    if string.sub(owner, 1, 40) == digest then return 'join', string.sub(owner, 42) end
    for _, held in ipairs(redis.call('LRANGE', root .. 'held:' .. key, 0, -1)) do
      if string.sub(held, 1, 40) == digest then return 'join', string.sub(held, 42) end
    end
    return 'held'
  end
  local following = redis.call('LINDEX', root .. 'held:' .. key, -1)
  local last = string.sub(following or owner, 42)
  local state, _, place, fields, entry = find(last)
  if not place or state == 'active' or has_started(last, place, fields) then return 'held' end
  if mode == 'keep_last' and state == 'waiting' then
    if string.sub(owner, 1, 40) == digest then return 'join', last end
    return 'held' -- in its own place it would go to the end of the queue with each call
  end
  if state == 'parked' or not field_of(fields, 'unique_mode') then return 'held' end
  if state == 'waiting' and request.max_wait
    and now >= created_of(fields, entry) + request.max_wait then return 'held' end
  return 'replace', last, state, place, fields, entry
end
