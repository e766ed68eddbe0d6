-- add_children: – (nothing moves)
-- Notes children of a running job; `outgoing` hands them to who stores them in their queues.
--
-- KEYS  1 root
-- ARGV  1 time  2 worker  3 place  4 entry  5 job id, then three for each child (a few hundred at most):
--         key        tells it from its siblings
--         about      '<policy> <queue> <id>'; policy fail | ignore | continue
--         spec       the child as enqueue takes it, JSON text
-- Returns how many are new: a key that the job has already changes nothing; -1 where the worker no longer holds the claim;
-- or, where a child is a job that waits for this one, the circle, a line '<queue> <id>' for each: nothing was added.
-- include: root places events limits moves families circles
local place, entry, id = ARGV[3], ARGV[4], ARGV[5]
redis.call('HLEN', root .. 'families')
redis.call('HLEN', root .. 'planned')
redis.call('HLEN', root .. 'children:' .. id)
redis.call('HLEN', root .. 'child_ends:' .. id)
local pending = redis.pcall('XPENDING', root .. place, 'workers', entry, entry, 1)[1]
if not pending or pending[2] ~= ARGV[2] then return -1 end
if redis.call('HLEN', root .. 'parents') > 0 then
  local waiters = waiters_of(string.match(KEYS[1], '{(.*)}$'), id)
  for i = 6, #ARGV, 3 do
    local child = string.match(ARGV[i + 1], '^%S+ (.*)$')
    if waiters[child] and redis.call('HEXISTS', root .. 'children:' .. id, ARGV[i]) == 0 then
      return circle_of(waiters, child)
    end
  end
end
redis.call('HINCRBY', root .. 'meta', 'added', 0) -- a write that a full Redis refuses, with nothing changed
local new = 0
for i = 6, #ARGV, 3 do
  if adopt(id, ARGV[i], ARGV[i + 1], ARGV[i + 2]) then new = new + 1 end
end
return new
