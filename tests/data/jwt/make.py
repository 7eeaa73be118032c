"""Made the tokens and public keys beside this file, with PyJWT: `pip install pyjwt cryptography && python make.py`.

The private keys were thrown away; the secret of HS256 is there, so that tests can make more.
"""

import base64
import hashlib
import hmac
import json
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

FOLDER = Path(__file__).parent
SECRET = b"correct horse battery staple, 32 bytes at least"
CLAIMS = {
    "iss": "https://idp.example",
    "aud": "telemetry-hub",
    "sub": "alice",
    "iat": 1700000000,
    "exp": 4102444800,
    "scope": "openid traces",
    "filter": "account=alice",
}


def public(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header, secret):
    """By hand, what PyJWT refuses to make."""
    parts = [base64url(json.dumps(part).encode()) for part in (header, CLAIMS)]
    message = ".".join(parts)
    mac = hmac.new(secret, message.encode(), hashlib.sha256)
    return message + "." + base64url(mac.digest())


keys = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    "RS256": rsa.generate_private_key(65537, 2048),
}
for algorithm, key in keys.items():
    (FOLDER / f"{algorithm}.pem").write_bytes(public(key))
(FOLDER / "HS256.secret").write_bytes(SECRET + b"\n")

good = {algorithm: jwt.encode(CLAIMS, key, algorithm) for algorithm, key in keys.items()}
good["HS256"] = jwt.encode(CLAIMS, SECRET, "HS256")

header, claims, signature = good["ES256"].split(".")
more = base64url(json.dumps({**CLAIMS, "scope": "admin traces"}).encode())
bad = {
    "unsigned": jwt.encode(CLAIMS, None, "none"),
    "signature left out": f"{header}.{claims}.",
    "claims changed": f"{header}.{more}.{signature}",
    "the public key of RS256 as a secret": signed({"alg": "HS256"}, public(keys["RS256"])),
    "the public key of ES256 as a secret": signed({"alg": "HS256"}, public(keys["ES256"])),
    "something critical": signed({"alg": "HS256", "crit": ["exp"]}, SECRET),
    "another hash": jwt.encode(CLAIMS, SECRET, "HS512"),
    "another hash of RSA": jwt.encode(CLAIMS, keys["RS256"], "RS512"),
    "another key": jwt.encode(CLAIMS, ec.generate_private_key(ec.SECP256R1()), "ES256"),
    "a key of its own": jwt.encode(
        CLAIMS, b"x" * 32, "HS256", headers={"jwk": {"kty": "oct", "k": base64url(b"x" * 32)}}
    ),
}
(FOLDER / "tokens.json").write_text(json.dumps({"good": good, "bad": bad}, indent=2) + "\n")
