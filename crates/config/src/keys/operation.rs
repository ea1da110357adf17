//! Evidence, the operator's endpoints, and the life cycle.

use super::declaration::section;

section! {
    EVIDENCE: "Audit evidence", "Nothing is forwarded before its intent is in the local spool; delivery to Redis follows in the background.";
    AUDIT_HMAC_KEY: HmacKey, Required,
        "Signs every audit event. Shared with the audit service.";
    AUDIT_CHECKPOINT_KEY: Secret, Unset("each process makes a key of its own"),
        "The Ed25519 secret that signs the checkpoints of audit events, 64 hexadecimal digits (`openssl rand -hex 32`). Its \
        public key is in the log and in the first event of each process.",
        advice "Set it where auditors should verify with one key that they know beforehand; to change it, or to take it away, \
        stop every gateway that has the old one cleanly while Redis takes events: what a killed one left is shipped without a last checkpoint, or waits for the old key where one \
        was begun.";
    AUDIT_ANCHOR_URL: SecretUrl, Unset("checkpoints are in the audit stream alone"),
        "An https URL outside that gets a POST with each checkpoint of audit events: [audit.md](audit.md). Traffic and \
        shipping never wait for it. Its path and query may hold a secret.",
        advice "A service that neither the operators of Redis nor those of the audit database can write to.";
    AUDIT_ANCHOR_CA_FILE: File, Unset("the system's authorities"),
        "Authorities to trust at `AUDIT_ANCHOR_URL`, in PEM.";
    AUDIT_REPLAY_DIR: Directory, Value("/var/lib/caracal/audit-replay"),
        "Where the spool lies. It must survive a restart, so use a volume of its own.";
    AUDIT_FSYNC: Choice(&["interval", "always"]), Value("interval"),
        "`interval`: synced to disk every 50 ms; survives the process, not a power cut. \
        `always`: synced before the request is forwarded.";
    AUDIT_FSYNC_TIMEOUT: Duration, Value("2s"),
        "How long the disk may take to sync the spool; then requests are refused until it has.",
        advice "Longer than the longest pause of the disk that should go unnoticed.";
    AUDIT_SPOOL_MAX_BYTES: Bytes, Value("1073741824"),
        "Size of the spool; when it is full, requests are refused. At least 1 MiB; the default is 1 GiB.",
        advice "Size it for the longest Redis outage that must not stop traffic, at two records for each request.";
    AUDIT_STREAM_MAX_LEN: CountOrZero, Value("0"),
        "Entries in the audit stream above which nothing is shipped: events wait in the spool until fewer are left. 0 is no \
        bound.",
        advice "Where replay marks share the server with the stream: an audit service that stands still then fills the spool and \
        not the server's memory. The audit service leaves what it has acknowledged in the stream, so something must trim \
        it, or shipping stops for good: [operations.md](operations.md).";
    AUDIT_DENIALS_PER_SECOND: Count, Value("100"),
        "Denial events written for each zone and reason; those beyond it are summed into one event a second.";
}

section! {
    OPERATOR: "Operator endpoints and logs", "`/health` and `/ready` are open to everyone and say nothing secret.";
    OPERATOR_ADDR: SocketAddress, Unset("they share the public port"),
        "Moves metrics and the revocation reload to a second listener, off the public port. It speaks plain \
        HTTP: let only the inside reach it.";
    METRICS_BEARER: Secret, Unset("open in dev, 401 in production"),
        "The bearer that `/metrics` and `/metrics.json` demand.";
    CARACAL_ADMIN_TOKEN: Secret, Unset("the reload answers 404"),
        "The bearer that `POST /internal/revocations/reload` demands.";
    LOG_LEVEL: Choice(&["trace", "debug", "info", "warn", "error"]), Value("info"),
        "The least severe log line that is written. No level shows a secret.";
}

section! {
    LIFE_CYCLE: "Life cycle", "On SIGTERM `/ready` answers `draining`, new requests are still served for a while, \
    then open ones are awaited and the evidence is flushed. A second signal exits at once. \
    SIGHUP reads revocations, bindings, certificates, keys and authorities anew; SIGUSR1 and SIGUSR2 are ignored.";
    DRAIN_DELAY: DurationOrZero, PerMode { production: "2s", dev: "0s" },
        "How long the gateway keeps accepting after SIGTERM, so that load balancers notice. After that, HTTP/1.1 connections without a \
        request stay open for as long again, so that their callers are told: [operations.md](operations.md).",
        advice "As long as a load balancer needs to see the failing `/ready`.";
    SHUTDOWN_GRACE: Duration, Value("14s"),
        "How long open requests may take to finish.",
        advice "Keep `DRAIN_DELAY` plus this 13 seconds below the time after which the orchestrator kills the process.";
}
