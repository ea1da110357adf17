"""What scripts/tls-scan judges the gateway's TLS by, with sslyze.

    tls_scan.py certificates DIRECTORY   writes a root, and a leaf for gateway.example with its intermediate and key
    tls_scan.py scan HOST:PORT DIRECTORY prints what sslyze found there, and fails where anything is less than it should be
"""

import datetime
import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sslyze import (
    CertificateInfoExtraArgument,
    RobotScanResultEnum,
    ScanCommandAttemptStatusEnum,
    ScanCommandsExtraArguments,
    Scanner,
    ServerNetworkConfiguration,
    ServerNetworkLocation,
    ServerScanRequest,
)
from sslyze.mozilla_tls_profile.tls_config_checker import (
    MozillaTlsConfiguration,
    ServerNotCompliantWithTlsConfiguration,
    TlsConfigurationEnum,
    check_server_against_tls_configuration,
)

NAME = "gateway.example"
OLD = ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"]
AEAD = ("_GCM_SHA256", "_GCM_SHA384", "_CHACHA20_POLY1305_SHA256")


def certificate(name, key, issuer, issuer_key, authority):
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=80))
        .add_extension(x509.BasicConstraints(authority, None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
        .add_extension(
            x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False), True
        )
    )
    if not authority:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), False)
    return builder.sign(issuer_key, hashes.SHA256())


def write_certificates(directory):
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    root = certificate("root", keys[0], None, keys[0], True)
    inner = certificate("intermediate", keys[1], root.subject, keys[0], True)
    leaf = certificate(NAME, keys[2], inner.subject, keys[1], False)
    pem = serialization.Encoding.PEM
    (directory / "root.crt").write_bytes(root.public_bytes(pem))
    (directory / "chain.crt").write_bytes(leaf.public_bytes(pem) + inner.public_bytes(pem))
    plain = serialization.NoEncryption()
    key = keys[2].private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    (directory / "leaf.key").write_bytes(key)


def scan(host, port, directory):
    scanner = Scanner()
    scanner.queue_scans([
        ServerScanRequest(
            server_location=ServerNetworkLocation(hostname=NAME, ip_address=host, port=port),
            network_configuration=ServerNetworkConfiguration(tls_server_name_indication=NAME),
            scan_commands_extra_arguments=ScanCommandsExtraArguments(
                certificate_info=CertificateInfoExtraArgument(custom_ca_file=directory / "root.crt")
            ),
        )
    ])
    (result,) = scanner.get_results()
    if result.scan_result is None:
        sys.exit(f"no scan: {result.connectivity_error_trace}")
    return result


def found(attempts, name):
    attempt = getattr(attempts, name)
    if attempt.status != ScanCommandAttemptStatusEnum.COMPLETED:
        sys.exit(f"{name} did not complete: {attempt.error_reason} {attempt.error_trace}")
    return attempt.result


def judge(result):
    """Lines of (what, found, whether that is right)."""
    attempts = result.scan_result
    for version in OLD + ["tls_1_2", "tls_1_3"]:
        suites = found(attempts, version + "_cipher_suites").accepted_cipher_suites
        names = [suite.cipher_suite.name for suite in suites]
        if version in OLD:
            yield version, names or "refused", not names
            continue
        forward = [version == "tls_1_3" or name.startswith("TLS_ECDHE_") for name in names]
        aead = [name.endswith(AEAD) for name in names]
        yield version, names, bool(names) and all(forward) and all(aead)
    curves = found(attempts, "elliptic_curves").supported_curves
    yield "curves", [curve.name for curve in curves], bool(curves)
    for deployment in found(attempts, "certificate_info").certificate_deployments:
        chain = [one.subject.rfc4514_string() for one in deployment.received_certificate_chain]
        whole = len(chain) == 2 and deployment.received_chain_has_valid_order
        verified = any(path.was_validation_successful for path in deployment.path_validation_results)
        yield "chain", chain, whole and verified
    compresses = found(attempts, "tls_compression").supports_compression
    yield "compression", compresses, not compresses
    renegotiation = found(attempts, "session_renegotiation")
    client = renegotiation.is_vulnerable_to_client_renegotiation_dos
    yield "renegotiation by the client", client, not client
    yield "secure renegotiation", renegotiation.supports_secure_renegotiation, renegotiation.supports_secure_renegotiation
    early = found(attempts, "tls_1_3_early_data").supports_early_data
    yield "early data", early, not early
    scsv = found(attempts, "tls_fallback_scsv").supports_fallback_scsv
    yield "fallback SCSV", scsv, scsv
    ems = found(attempts, "tls_extended_master_secret").supports_ems_extension
    yield "extended master secret", ems, ems
    bleeds = found(attempts, "heartbleed").is_vulnerable_to_heartbleed
    yield "heartbleed", bleeds, not bleeds
    ccs = found(attempts, "openssl_ccs_injection").is_vulnerable_to_ccs_injection
    yield "CCS injection", ccs, not ccs
    robot = found(attempts, "robot").robot_result
    yield "ROBOT", robot.name, robot == RobotScanResultEnum.NOT_VULNERABLE_RSA_NOT_SUPPORTED
    profile = MozillaTlsConfiguration.get(TlsConfigurationEnum.MOZILLA_INTERMEDIATE)
    try:
        check_server_against_tls_configuration(result, profile)
        yield "Mozilla intermediate", "compliant", True
    except ServerNotCompliantWithTlsConfiguration as error:
        yield "Mozilla intermediate", error.issues, False


def main(command, *arguments):
    directory = pathlib.Path(arguments[-1])
    if command == "certificates":
        return write_certificates(directory)
    host, port = arguments[0].rsplit(":", 1)
    failures = 0
    for what, seen, right in judge(scan(host, int(port), directory)):
        failures += not right
        print(f"{'ok  ' if right else 'FAIL'}  {what}: {seen}")
    sys.exit(failures > 0)


main(*sys.argv[1:])
