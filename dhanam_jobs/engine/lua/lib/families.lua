-- Parents and their children, on the parent's side. Needs root, places, events, moves.
-- `families` maps a parent to '' | 'go <n>' (n children whose failure lets it go on) | 'fail <reason>';
-- `children:<parent>` its children's keys to '<number> <policy> <queue> <id>', `child_ends:<parent>` those of the ended
-- ones to how they ended (JSON). `planned` maps '<parent> <key>' to the child as enqueue takes it, until it is stored.

-- Notes a child that is to be stored in its own queue. Returns false where the parent has a child of that key already.
local function adopt(id, key, about, spec)
  local children = root .. 'children:' .. id
  if redis.call('HEXISTS', children, key) == 1 then return false end
  redis.call('HSETNX', root .. 'families', id, '')
  redis.call('HSET', children, key, string.format('%d %s', redis.call('HLEN', children), about))
  redis.call('HSET', root .. 'planned', id .. ' ' .. key, spec)
  return true
end

-- What becomes of a parent that waits: 'ready' to run again, 'blocked', or 'failed' and why. `seen` is how many of the
-- failures that let it go on its handler knew.
local function outlook(id, seen)
  local mark = redis.call('HGET', root .. 'families', id)
  if not mark then return 'ready' end
  local word, rest = string.match(mark, '^(%a+) (.*)$')
  if word == 'fail' then return 'failed', rest end
  if word == 'go' and tonumber(rest) > seen then return 'ready' end
  if redis.call('HLEN', root .. 'children:' .. id) == redis.call('HLEN', root .. 'child_ends:' .. id) then
    return 'ready'
  end
  return 'blocked'
end

-- Keeps a parent beside the streams until its children have ended.
local function block_for_children(id, level, fields)
  keep_fields(id, level, fields)
  redis.call('ZADD', root .. 'blocked', now, id)
  redis.call('HSET', root .. 'index', id, 'blocked for children')
end
