-- The worker's row and its call numbers. ARGV[2] is the worker, ARGV[3] the number of this call, rising with each.
-- A reply whose first item is 'dead' says that the row is gone: the worker was declared dead, or the data is lost.
local row = root .. 'worker:' .. ARGV[2]
local last = redis.call('HMGET', row, 'call', 'verdicts')
if not last[1] then return {'dead', now} end
