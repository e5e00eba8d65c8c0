-- The dead-man's switch: ends sessions of Holdpoint's task roles that are past their end, with Holdpoint itself dead.
--
-- VALID UNTIL ends the password and no session: whoever logged in before stays, and may set every time limit of the session to
-- zero. Only ending the session ends it. Run `holdpoint.sql` first, then this as a superuser, once in one database of the
-- server, and have a scheduler call the function every few seconds:
--
--     SELECT cron.schedule('holdpoint-reap', '5 seconds', 'SELECT holdpoint.reap(''hp'')');    -- pg_cron
--     * * * * * psql -X -q -d shop -c "SELECT holdpoint.reap('hp')"                            -- cron, once a minute
--
-- The argument is the `prefix` of the lease backend. Ended: sessions of roles named `{prefix}_{8 hex}_{32 hex}` that cannot log in
-- any more or are past VALID UNTIL. Nothing else is ever touched, and nothing is dropped: that is the issuer's, with proof.

CREATE OR REPLACE FUNCTION holdpoint.reap(prefix text) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $reap$
DECLARE
    ended integer;
BEGIN
    IF prefix !~ '^[a-z][a-z0-9]{0,15}$' THEN
        RAISE EXCEPTION 'expected a prefix of 1 to 16 lower-case letters and digits';
    END IF;
    SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid)) INTO ended
    FROM pg_stat_activity a
    JOIN pg_roles r ON r.oid = a.usesysid
    WHERE r.rolname ~ ('^' || prefix || '_[0-9a-f]{8}_[0-9a-f]{32}$')
        AND NOT r.rolsuper
        AND (NOT r.rolcanlogin OR r.rolvaliduntil <= clock_timestamp());
    RETURN ended;
END
$reap$;
ALTER FUNCTION holdpoint.reap(text) OWNER TO holdpoint_owner;
REVOKE ALL ON FUNCTION holdpoint.reap(text) FROM PUBLIC;
