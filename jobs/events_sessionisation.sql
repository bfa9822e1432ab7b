-- Cuts each user's events into sessions: a pause longer than `gap_minutes` begins a new one.
--
-- JSON in (one object a line, also .json.gz and .json.zst), window functions, Parquet out. `selvedge demo --data-dir D`
-- leaves sample events in D/sample/events/. Run it with:
--
--   selvedge run jobs/events_sessionisation.sql -p events=D/sample/events/ -p sessions=/data/sessions/
--
-- @job events_sessionisation
-- @param events string
-- @param sessions string
-- @param gap_minutes int = 30

-- JSON has no types of its own, so the columns are declared. A value that does not fit fails the run and names the file.
CREATE EXTERNAL TABLE IF NOT EXISTS events (
    event_id    BIGINT,
    user_id     BIGINT,
    event_time  TIMESTAMP,
    page        STRING,
    amount      DOUBLE
)
STORED AS JSON
LOCATION '{{ events }}';

CREATE EXTERNAL TABLE IF NOT EXISTS sessions (
    user_id          BIGINT,
    session_number   BIGINT,
    started_at       TIMESTAMP,
    ended_at         TIMESTAMP,
    events           BIGINT,
    pages            BIGINT,
    landing_page     STRING,
    amount           DOUBLE,
    day              DATE
)
STORED AS PARQUET
PARTITIONED BY (day)
LOCATION '{{ sessions }}';

INSERT OVERWRITE sessions
WITH with_previous AS (
    -- event_id breaks ties, so that the same input always gives the same sessions.
    SELECT *, lag(event_time) OVER (PARTITION BY user_id ORDER BY event_time, event_id) AS previous_time
    FROM events
),
numbered AS (
    -- Each first event of a session counts 1; the running sum numbers the user's sessions.
    SELECT *, sum(CASE WHEN previous_time IS NULL
                         OR event_time > previous_time + INTERVAL '{{ gap_minutes }} minutes'
                       THEN 1 ELSE 0 END)
              OVER (PARTITION BY user_id ORDER BY event_time, event_id) AS session_number
    FROM with_previous
)
SELECT
    user_id,
    session_number,
    min(event_time)                                        AS started_at,
    max(event_time)                                        AS ended_at,
    count(*)                                               AS events,
    count(DISTINCT page)                                   AS pages,
    first_value(page ORDER BY event_time, event_id)        AS landing_page,
    sum(coalesce(amount, 0.0))                             AS amount,
    CAST(min(event_time) AS DATE)                          AS day
FROM numbered
GROUP BY user_id, session_number;

SELECT day, count(*) AS sessions, sum(events) AS events, round(sum(amount), 2) AS amount
FROM sessions
GROUP BY day
ORDER BY day
LIMIT 10;
