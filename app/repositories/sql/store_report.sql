-- Stores one report: its record, its domain and pathname if they are new, and a delivery if the source has a webhook
-- for the record's level. If the webhook's policy ignores the event, counts it instead of putting a delivery.
-- PostgreSQL only. One statement is one transaction and one round trip.
--
-- Stores no record and returns no row if the caller may not report to the source (repositories/access.py); if an
-- earlier report has the same report_id; or if a concurrent report creates the same domain or pathname: ON CONFLICT
-- then skips the row, which this statement's snapshot does not contain. The caller finds out which, and retries.

WITH reportable AS (
    SELECT FROM ({access}) AS access WHERE may_report
),

known_domain AS (
    SELECT id FROM domains
    WHERE traffic_source_id = :source_id AND value = :host AND protocol = :domain_protocol
),
new_domain AS (
    INSERT INTO domains (id, created_at, value, protocol, traffic_source_id)
    SELECT :new_domain_id, :now, :host, :domain_protocol, :source_id FROM reportable
    WHERE NOT EXISTS (SELECT FROM known_domain)
    ON CONFLICT DO NOTHING
    RETURNING id
),
domain AS (
    SELECT id FROM known_domain UNION ALL SELECT id FROM new_domain
),

known_pathname AS (
    SELECT id FROM pathnames
    WHERE domain_id = (SELECT id FROM known_domain) AND value = :path
),
new_pathname AS (
    INSERT INTO pathnames (id, created_at, value, domain_id)
    SELECT :new_pathname_id, :now, :path, domain.id FROM reportable, domain
    WHERE NOT EXISTS (SELECT FROM known_pathname)
    ON CONFLICT DO NOTHING
    RETURNING id
),
pathname AS (
    SELECT id FROM known_pathname UNION ALL SELECT id FROM new_pathname
),

record AS (
    INSERT INTO http_traffic_records ({columns}, pathname_id)
    SELECT {values}, pathname.id FROM reportable, pathname
    ON CONFLICT DO NOTHING
    RETURNING id
),
delivery AS (
    {put}
    RETURNING webhook_id
),
ignored AS (
    {count_ignored}
)

SELECT domain.id AS domain_id, pathname.id AS pathname_id, ({wake}) AS woken
FROM record, domain, pathname
