-- What Holdpoint needs in a database whose sessions it may end. Run it as a superuser in that database, again and again if you
-- like. PostgreSQL 15 or later.
--
-- Nobody gets `pg_signal_backend`: that right ends every session of the server. A task may end exactly the sessions that a
-- warrant of its own names, by process id and start time, through the two functions below, and those only where the operator's
-- list `holdpoint.may_end` has the session's role. Fill that list yourself:
--
--     INSERT INTO holdpoint.may_end VALUES ('shop'), ('reports');
--
-- Then give the two roles passwords (`\password holdpoint_issuer`), with password_encryption = 'scram-sha-256', and see that
-- pg_hba.conf asks every role whose name begins with the issuer's prefix for scram-sha-256: with `trust` no revocation proves
-- anything, and Holdpoint refuses to lease from such a server.

DO $roles$
BEGIN
    -- Owns what is below; nobody logs in as it.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'holdpoint_owner') THEN
        CREATE ROLE holdpoint_owner NOLOGIN;
    END IF;
    -- Makes a role for each task, and drops it. Not a superuser. Up to PostgreSQL 15 CREATEROLE can join every role that is
    -- not a superuser: guard its password like root's. From 16 on it reaches only the roles that it made.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'holdpoint_issuer') THEN
        CREATE ROLE holdpoint_issuer LOGIN CREATEROLE CONNECTION LIMIT 20;
    END IF;
    -- Looks whether a session is there.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'holdpoint_observer') THEN
        CREATE ROLE holdpoint_observer LOGIN CONNECTION LIMIT 20;
    END IF;
    -- Looks whether the role of a task is gone, where OpenBao makes and drops it. No grants: the catalogue is everybody's to read.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'holdpoint_prover') THEN
        CREATE ROLE holdpoint_prover LOGIN CONNECTION LIMIT 20;
    END IF;
END
$roles$;

GRANT pg_signal_backend, pg_read_all_stats TO holdpoint_owner;

CREATE SCHEMA IF NOT EXISTS holdpoint AUTHORIZATION holdpoint_owner;
REVOKE ALL ON SCHEMA holdpoint FROM PUBLIC;

-- The roles whose sessions may be ended at all. Only the operator writes it.
CREATE TABLE IF NOT EXISTS holdpoint.may_end (usename name PRIMARY KEY);
ALTER TABLE holdpoint.may_end OWNER TO holdpoint_owner;

-- Which task may do what to which session. Only the issuer writes it.
CREATE TABLE IF NOT EXISTS holdpoint.warrant (
    role name NOT NULL,
    verb text NOT NULL CHECK (verb IN ('cancel', 'terminate')),
    pid integer NOT NULL,
    started_us bigint NOT NULL,
    PRIMARY KEY (role, verb, pid, started_us)
);
ALTER TABLE holdpoint.warrant OWNER TO holdpoint_owner;

-- What a session is: `gone`, `kept` (it may not be ended), `busy` or `idle`. A process id alone names nothing, since it is used
-- again: the start of the session, in microseconds since 1970, makes it one session and no other.
CREATE OR REPLACE FUNCTION holdpoint.look(wanted_pid integer, wanted_us bigint) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $look$
    SELECT coalesce(
        (SELECT CASE
            WHEN a.backend_type IS DISTINCT FROM 'client backend' THEN 'kept'
            WHEN a.datname IS DISTINCT FROM current_database() THEN 'kept'
            WHEN NOT EXISTS (SELECT FROM holdpoint.may_end m WHERE m.usename = a.usename) THEN 'kept'
            WHEN a.state IN ('active', 'idle in transaction', 'idle in transaction (aborted)', 'fastpath function call')
                THEN 'busy'
            ELSE 'idle'
        END
        FROM pg_stat_activity a
        WHERE a.pid = wanted_pid AND (extract(epoch FROM a.backend_start) * 1000000)::bigint = wanted_us),
        'gone')
$look$;
ALTER FUNCTION holdpoint.look(integer, bigint) OWNER TO holdpoint_owner;

-- Whether whoever logged in has a warrant. `session_user` is who logged in, whatever role was set since.
CREATE OR REPLACE FUNCTION holdpoint.has_warrant(wanted_verb text, wanted_pid integer, wanted_us bigint) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $has_warrant$
    SELECT EXISTS (SELECT FROM holdpoint.warrant w
        WHERE w.role = session_user AND w.verb = wanted_verb AND w.pid = wanted_pid AND w.started_us = wanted_us)
$has_warrant$;
ALTER FUNCTION holdpoint.has_warrant(text, integer, bigint) OWNER TO holdpoint_owner;

-- Cancels what a session is doing. Answers `done`, or why not: `no_warrant`, `gone`, `kept`.
CREATE OR REPLACE FUNCTION holdpoint.cancel_backend(wanted_pid integer, wanted_us bigint) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $cancel$
DECLARE
    seen text;
BEGIN
    IF NOT holdpoint.has_warrant('cancel', wanted_pid, wanted_us) THEN
        RETURN 'no_warrant';
    END IF;
    seen := holdpoint.look(wanted_pid, wanted_us);
    IF seen IN ('gone', 'kept') THEN
        RETURN seen;
    END IF;
    -- Between the look and the signal the process could end and its id be used again: microseconds, and no lock helps.
    IF pg_cancel_backend(wanted_pid) THEN
        RETURN 'done';
    END IF;
    RETURN 'gone';
END
$cancel$;
ALTER FUNCTION holdpoint.cancel_backend(integer, bigint) OWNER TO holdpoint_owner;

-- Ends a session, and waits up to five seconds for its end. Answers `done`, `sent` (it still ends), or why not.
CREATE OR REPLACE FUNCTION holdpoint.terminate_backend(wanted_pid integer, wanted_us bigint) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $terminate$
DECLARE
    seen text;
BEGIN
    IF NOT holdpoint.has_warrant('terminate', wanted_pid, wanted_us) THEN
        RETURN 'no_warrant';
    END IF;
    seen := holdpoint.look(wanted_pid, wanted_us);
    IF seen IN ('gone', 'kept') THEN
        RETURN seen;
    END IF;
    IF pg_terminate_backend(wanted_pid, 5000) THEN
        RETURN 'done';
    END IF;
    RETURN 'sent';
END
$terminate$;
ALTER FUNCTION holdpoint.terminate_backend(integer, bigint) OWNER TO holdpoint_owner;

-- A function is everybody's to call unless it is said otherwise.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA holdpoint FROM PUBLIC;
GRANT USAGE ON SCHEMA holdpoint TO holdpoint_observer;
GRANT EXECUTE ON FUNCTION holdpoint.look(integer, bigint) TO holdpoint_observer;
GRANT USAGE ON SCHEMA holdpoint TO holdpoint_issuer WITH GRANT OPTION;
GRANT EXECUTE ON FUNCTION
    holdpoint.look(integer, bigint),
    holdpoint.cancel_backend(integer, bigint),
    holdpoint.terminate_backend(integer, bigint)
    TO holdpoint_issuer WITH GRANT OPTION;
GRANT SELECT, INSERT, DELETE ON holdpoint.warrant TO holdpoint_issuer;
