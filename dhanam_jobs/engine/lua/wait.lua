-- wait: – (nothing moves)
-- Says that somebody waits for the results of jobs, so that retention doesn't take them before they were read.
--
-- KEYS  1 root
-- ARGV  1 time  2 how long somebody waits (ms)  3… job ids (a few hundred at most)
-- Returns {id of the newest event ('0-0' where there is none), answer, …}, one answer for each id: the record of a job
-- that has ended, 1 for one that has not, 0 for one that isn't there.
-- include: root places events limits moves finding
local newest = redis.call('XREVRANGE', root .. 'events', '+', '-', 'COUNT', 1)[1]
local reply, scores = {newest and newest[1] or '0-0'}, {}
redis.call('ZCARD', root .. 'waited')
for i = 3, #ARGV do
  local state, detail = find(ARGV[i])
  if state == 'ended' then
    reply[#reply + 1] = detail
  elseif state then
    reply[#reply + 1] = 1
    scores[#scores + 1] = now + tonumber(ARGV[2])
    scores[#scores + 1] = ARGV[i]
  else
    reply[#reply + 1] = 0
  end
end
if #scores > 0 then
  redis.call('ZREM', root .. 'waited', '') -- a write that a full Redis accepts: it is emptied while somebody waits
  redis.call('ZADD', root .. 'waited', unpack(scores))
end
return reply
