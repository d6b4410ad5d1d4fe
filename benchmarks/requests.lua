-- The requests of one measurement, for wrk. The environment says which:
--   BENCH_WORK      get, list, create, update or mix
--   BENCH_CALLERS   a file with one line per user: an access token, then ids of tasks of theirs
--   BENCH_SEED      makes the choice of users, tasks and works repeatable
-- The last line that wrk prints is the outcome as JSON; times are in milliseconds.

local work = os.getenv("BENCH_WORK")
local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init()
  math.randomseed(tonumber(os.getenv("BENCH_SEED")) * 1000 + number)
  callers = {}
  for line in io.lines(os.getenv("BENCH_CALLERS")) do
    local caller = { ids = {} }
    for word in line:gmatch("%S+") do
      if caller.token then table.insert(caller.ids, word) else caller.token = word end
    end
    caller.headers = " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port
      .. "\r\nAuthorization: Bearer " .. caller.token .. "\r\n"
    table.insert(callers, caller)
  end
  written = 0
end

local function with_body(method, path, caller, body)
  return method .. " " .. path .. caller.headers
    .. "Content-Type: application/json\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

local function task_path(caller)
  return "/api/v1/tasks/" .. caller.ids[math.random(#caller.ids)]
end

local works = {}

function works.get(caller)
  return "GET " .. task_path(caller) .. caller.headers .. "\r\n"
end

function works.list(caller)
  return "GET /api/v1/tasks?limit=20&count=none" .. caller.headers .. "\r\n"
end

function works.create(caller)
  written = written + 1
  return with_body("POST", "/api/v1/tasks", caller, '{"title": "Written under load ' .. written
    .. '", "description": "As long as descriptions of tasks usually are, so about this long.", "priority": 3}')
end

function works.update(caller)
  written = written + 1
  return with_body("PATCH", task_path(caller), caller,
    '{"title": "Changed under load ' .. written .. '", "status": "in_progress"}')
end

function works.mix(caller)
  local share = math.random(100)
  if share <= 60 then return works.get(caller) end
  if share <= 85 then return works.list(caller) end
  if share <= 95 then return works.create(caller) end
  return works.update(caller)
end

function request()
  return works[work](callers[math.random(#callers)])
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.4f, "bytes": %d, "p50_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f, '
      .. '"refused": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, summary.bytes,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
