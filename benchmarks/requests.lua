-- The requests of one measurement, for wrk. The environment says which:
--   BENCH_REQUESTS  a file with one line per kind of request: weight, method, path, body, headers, with tabs between;
--                   they hold blanks, as benchmarks/works.py describes them
--   BENCH_CALLERS   a file with one line per user: name=value|value|... for each blank, with tabs between
--   BENCH_WORDS     words to search for, with commas between
--   BENCH_SENT      how many requests the server has had before, where the running number goes on
--   BENCH_SEED      makes the choice of users, values and requests repeatable
-- The last line that wrk prints is the outcome as JSON; times are in milliseconds.

local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

local function split(text, separator)
  local parts = {}
  for part in (text .. separator):gmatch("(.-)" .. separator) do table.insert(parts, part) end
  return parts
end

-- A text with blanks becomes a function of the caller.
local function compile(text)
  local pieces, position, once = {}, 1, false
  local function add(piece) if piece ~= "" then table.insert(pieces, piece) end end
  while true do
    local from, to, name = text:find("<([a-z_]+)>", position)
    if not from then break end
    add(text:sub(position, from - 1))
    if name == "n" then
      table.insert(pieces, function() return sent end)
    elseif name == "word" then
      table.insert(pieces, function() return words[math.random(#words)] end)
    elseif name:sub(1, 5) == "once_" then
      once = true
      table.insert(pieces, function(caller)
        local values = caller[name]
        return values[math.floor(sent / #callers) % #values + 1]
      end)
    else
      table.insert(pieces, function(caller)
        local values = caller[name]
        return values[math.random(#values)]
      end)
    end
    position = to + 1
  end
  add(text:sub(position))
  if #pieces == 1 and type(pieces[1]) == "string" then return function() return text end, once end
  return function(caller)
    local parts = {}
    for place, piece in ipairs(pieces) do parts[place] = type(piece) == "string" and piece or piece(caller) end
    return table.concat(parts)
  end, once
end

function init()
  math.randomseed(tonumber(os.getenv("BENCH_SEED")) * 1000 + number)
  sent = tonumber(os.getenv("BENCH_SENT"))
  words = split(os.getenv("BENCH_WORDS"), ",")
  callers, requests, total = {}, {}, 0
  for line in io.lines(os.getenv("BENCH_CALLERS")) do
    local caller = {}
    for _, column in ipairs(split(line, "\t")) do
      local name, values = column:match("^([a-z_]+)=(.*)$")
      caller[name] = split(values, "|")
    end
    caller.head = " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port
      .. "\r\nAuthorization: Bearer " .. caller.token[1] .. "\r\n"
    table.insert(callers, caller)
  end
  for line in io.lines(os.getenv("BENCH_REQUESTS")) do
    local columns = split(line, "\t")
    local headers = {}
    for place = 5, #columns do table.insert(headers, columns[place] .. "\r\n") end
    if columns[4] ~= "" then table.insert(headers, "Content-Type: application/json\r\n") end
    local path, path_once = compile(columns[2] .. " " .. columns[3])
    local body, body_once = compile(columns[4])
    total = total + tonumber(columns[1])
    table.insert(requests, {
      upto = total, path = path, headers = compile(table.concat(headers)), body = body, once = path_once or body_once,
      has_body = columns[2] ~= "GET"
    })
  end
end

local function choose()
  if #requests == 1 then return requests[1] end
  local share = math.random(total)
  for _, each in ipairs(requests) do
    if share <= each.upto then return each end
  end
end

function request()
  local kind = choose()
  local caller = kind.once and callers[sent % #callers + 1] or callers[math.random(#callers)]
  local text = kind.path(caller) .. caller.head .. kind.headers(caller)
  if kind.has_body then
    local body = kind.body(caller)
    text = text .. "Content-Length: " .. #body .. "\r\n\r\n" .. body
  else
    text = text .. "\r\n"
  end
  sent = sent + 1
  return text
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
