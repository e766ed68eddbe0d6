-- Ending jobs: records, retention, lifetime counters, waiters, unique keys. Needs root, places, events, moves.

-- Read before anything is written, and by one command each where nobody has children.
local has_parents = redis.call('HLEN', root .. 'parents') > 0
local has_families = redis.call('HLEN', root .. 'families') > 0
if has_parents then redis.call('HLEN', root .. 'handover') end
if has_families then
  redis.call('HLEN', root .. 'planned')
  redis.call('HLEN', root .. 'felled')
end

-- Notes how children ended, for their parents: `parents` maps a child to lines of '<queue> <parent> <key> <token>', and
-- `handover` maps such a line to the child's record until the parent's queue has been told.
local function hand_over(ids, records)
  if not has_parents then return end
  for i, links in ipairs(redis.call('HMGET', root .. 'parents', unpack(ids))) do
    if links then
      redis.call('HDEL', root .. 'parents', ids[i])
      for link in string.gmatch(links, '[^\n]+') do redis.call('HSETNX', root .. 'handover', link, records[i]) end
    end
  end
end

-- What parents are told of a child that was removed.
local function removed_record(id)
  return '{"id":' .. cjson.encode(id) .. ',"state":"removed"}'
end

-- True where a queue is to be told of something.
local function any_outgoing()
  return (has_parents and redis.call('HLEN', root .. 'handover') > 0)
    or (has_families and redis.call('HLEN', root .. 'felled') > 0)
end

-- Forgets the children of parents that have ended, with their results. Those that go on are let go, or taken along where
-- `families` says so for '<parent> tree': `felled` maps '<queue> <child> <parent> <key>' to 'cancel' or 'remove', and ' if
-- ours' where it is not known that the child was stored.
local function forget_families(ids)
  if not has_families then return end
  for _, id in ipairs(ids) do
    local tree = redis.call('HGET', root .. 'families', id .. ' tree')
    if redis.call('HDEL', root .. 'families', id, id .. ' tree') > 0 then
      local children, ends = root .. 'children:' .. id, root .. 'child_ends:' .. id
      if tree or redis.call('HLEN', root .. 'planned') > 0 then
        local all = redis.call('HGETALL', children)
        for i = 1, #all, 2 do
          local unsent = redis.call('HDEL', root .. 'planned', id .. ' ' .. all[i]) == 1
          if tree and redis.call('HEXISTS', ends, all[i]) == 0 then
            local child = string.match(all[i + 1], '^%d+ %a+ (.*)$')
            redis.call('HSET', root .. 'felled', child .. ' ' .. id .. ' ' .. all[i], unsent and tree .. ' if ours' or tree)
          end
        end
      end
      redis.call('DEL', children, ends)
    end
  end
end

-- Dead letters kept where no policy says otherwise (`dead_keep` in `meta`).
local dead_default = '10000'

-- Deletes the oldest dead letters.
local function drop_dead(count)
  for first = 1, count, 1000 do
    local ids = redis.call('ZRANGE', root .. 'dead', 0, math.min(count - first + 1, 1000) - 1)
    if #ids == 0 then return end
    redis.call('ZREMRANGEBYRANK', root .. 'dead', 0, #ids - 1)
    redis.call('HDEL', root .. 'buried', unpack(ids))
  end
end

-- Keeps failures that leave `failed` as dead letters. A store of a wrong type stops no job from ending.
local function bury(ids, records)
  local keep = redis.call('HGET', root .. 'meta', 'dead_keep') or dead_default
  if keep == '0' then return end
  for _, name in ipairs({'ZCARD dead', 'HLEN buried'}) do
    local command, key = string.match(name, '^(%S+) (%S+)$')
    if type(redis.pcall(command, root .. key)) ~= 'number' then return end
  end
  for i, id in ipairs(ids) do
    if records[i] then
      redis.call('ZADD', root .. 'dead', redis.call('HINCRBY', root .. 'meta', 'buried', 1), id)
      redis.call('HSET', root .. 'buried', id, records[i])
    end
  end
  drop_dead(redis.call('ZCARD', root .. 'dead') - keep)
end

-- Forgets what jobs told of themselves; goes with their records.
local function forget_notes(ids)
  if redis.call('HLEN', root .. 'notes') == 0 then return end
  for i, note in ipairs(redis.call('HMGET', root .. 'notes', unpack(ids))) do
    if note then redis.call('DEL', root .. 'log:' .. ids[i]) end
  end
  redis.call('HDEL', root .. 'notes', unpack(ids))
end

-- Lets the `count` oldest records of a list go, at most a thousand.
local function drop_oldest(state, count)
  local ids = redis.call('ZRANGE', root .. state, 0, count - 1)
  if #ids == 0 then return end
  redis.call('ZREMRANGEBYRANK', root .. state, 0, #ids - 1)
  if state == 'failed' then bury(ids, redis.call('HMGET', root .. 'ended', unpack(ids))) end
  redis.call('HDEL', root .. 'ended', unpack(ids))
  redis.call('HDEL', root .. 'joined', unpack(ids))
  forget_notes(ids)
end

-- Deletes records that retention no longer keeps. `keep` is a number, or '' for all.
local function evict(state, keep)
  if keep == '' then return end
  local over = redis.call('ZCARD', root .. state) - keep
  for first = 0, over - 1, 1000 do drop_oldest(state, math.min(over - first, 1000)) end
end

-- A schedule keeps the record of the run that ended last.
local function keep_last_runs(ids, records)
  for i, name in ipairs(redis.call('HMGET', root .. 'runs', unpack(ids))) do
    if name then
      redis.call('HDEL', root .. 'runs', ids[i])
      local schedule = root .. 'schedule:' .. name
      if redis.call('EXISTS', schedule) == 1 then redis.pcall('HSET', schedule, 'run', records[i]) end
    end
  end
end

-- What every end has, whether its record is kept or not: counter, waiters, index, schedule. Returns the lifetime count.
local function end_jobs(state, ids, records)
  local total = redis.call('HINCRBY', root .. 'meta', state, #ids)
  if redis.call('ZCARD', root .. 'waited') > 0 then
    for i, id in ipairs(ids) do
      if redis.call('ZSCORE', root .. 'waited', id) then
        redis.call('SET', root .. 'result:' .. id, records[i], 'PX', 600000)
        redis.call('ZREM', root .. 'waited', id)
      end
    end
  end
  if redis.call('HLEN', root .. 'index') > 0 then redis.call('HDEL', root .. 'index', unpack(ids)) end
  if redis.call('HLEN', root .. 'runs') > 0 then keep_last_runs(ids, records) end
  hand_over(ids, records)
  forget_families(ids)
  return total
end

-- Ends a batch in one state of which no record is kept.
local function finish_unkept(state, ids, records)
  end_jobs(state, ids, records)
  redis.call('HDEL', root .. 'joined', unpack(ids))
  forget_notes(ids)
end

-- Ends a batch in one state: `ids` and `records` (JSON texts) side by side, at most a few hundred.
local function finish(state, ids, records, keep)
  if #ids == 0 then return end
  local total = end_jobs(state, ids, records)
  local first = 1
  if keep ~= '' then first = math.max(1, #ids - keep + 1) end
  if first > 1 then
    evict(state, 0) -- all that are older than this batch
    redis.call('HDEL', root .. 'joined', unpack(ids, 1, first - 1))
    forget_notes({unpack(ids, 1, first - 1)})
    if state == 'failed' then bury({unpack(ids, 1, first - 1)}, records) end
  end
  if first > #ids then return end
  local scores, fields = {}, {}
  for i = first, #ids do
    scores[#scores + 1] = total - #ids + i
    scores[#scores + 1] = ids[i]
    fields[#fields + 1] = ids[i]
    fields[#fields + 1] = records[i]
  end
  redis.call('ZADD', root .. state, unpack(scores))
  redis.call('HSET', root .. 'ended', unpack(fields))
  evict(state, keep)
end

-- Frees a unique key if `id` owns it; the next job held by it becomes its owner and waits, or is
-- delayed where it isn't due yet. Returns places.
local function free_unique(key, id, places)
  local owner = redis.call('HGET', root .. 'unique', key)
  if not owner or string.sub(owner, 42) ~= id then return places end
  local held = root .. 'held:' .. key
  while true do
    local following = redis.pcall('LPOP', held)
    if type(following) ~= 'string' then -- empty, or overwritten by another type: what it held is lost, the key is not
      redis.call('HDEL', root .. 'unique', key)
      return places
    end
    local next_id = string.sub(following, 42)
    local fields, level, due = kept_fields(next_id)
    if fields then
      redis.call('HSET', root .. 'unique', key, following)
      redis.call('ZREM', root .. 'blocked', next_id)
      if due and due > now then
        put_delayed(next_id, level, fields, due)
        tell(1, 'delayed', next_id)
      else
        redis.call('DEL', root .. 'job:' .. next_id)
        places = put_waiting('waiting:' .. level, next_id, fields, places)
        tell(1, 'waiting', next_id)
      end
      ring()
      return places
    end
  end
end
