"""Who asks and what they may: each scheme, each role, and each way round them that we could think of."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from partyd import signing
from partyd.api.auth import FATE_HEADERS, LOWERED_HEADER
from partyd.errors import ConfigError
from tests.api.frame import NOW, OWNER, TOKEN, Api, Doors, on_api, raw

DOORS = ("viewer", "operator", "admin")
HOST = b"Host: localhost\r\n"
CLOSE = b"Connection: close\r\n\r\n"


def fate(app: dict[str, Any], nonce: str = "1234", ts: int = NOW * 1000, user: str = "me") -> dict[str, str]:
    """Return FATE's headers, made as its client makes them."""
    inner = hashlib.md5(f"{app['app_id']}{user}{nonce}{ts}".encode()).hexdigest()
    signature = hashlib.md5(f"{inner}{app['app_token']}".encode()).hexdigest()
    return dict(zip(FATE_HEADERS, (app["app_id"], user, nonce, str(ts), signature), strict=True))


async def may(api: Api, headers: dict[str, str], door: str = "viewer") -> int:
    return (await api.get(f"/v2/door/{door}", headers))[0]


# -- open, and the owner's token


def test_without_a_token_file_everybody_on_loopback_is_the_owner(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        assert [await may(api, {}, door) for door in DOORS] == [200, 200, 200]
        app = await api.app_of("viewer")
        assert await may(api, api.signed(app, "GET", "/v2/door/viewer")) == 200
        assert await may(api, api.signed(app, "GET", "/v2/door/admin"), "admin") == 403
        assert await may(api, api.signed(app | {"app_token": "x"}, "GET", "/v2/door/viewer")) == 401
        assert await may(api, {"Authorization": "Bearer of-a-token-that-nobody-set"}, "admin") == 200
        assert await may(api, fate(app) | {"Signature": "0" * 32}) == 200, "FATE's headers mean nothing here"

    on_api(tmp_path, work, [Doors()])


def test_the_owners_token_opens_everything_and_its_absence_only_the_probes(tmp_path: Path) -> None:
    doors = Doors()

    async def work(api: Api) -> None:
        assert [await may(api, OWNER, door) for door in DOORS] == [200, 200, 200]
        doors.passed.clear()
        assert [await may(api, {}, door) for door in ("open", *DOORS)] == [200, 401, 401, 401]
        assert doors.passed == ["GET /v2/door/open"]
        async with api.http.get("/v2/door/admin") as reply:
            assert reply.headers["WWW-Authenticate"].startswith("Bearer")
        async with api.http.get("/livez") as reply:
            assert reply.status == 200
        async with api.http.get("/metrics") as reply:
            assert reply.status == 401
        for path in ("/v2/nothing", "/", "/v2/openapi.json", "/favicon.ico"):
            assert (await api.get(path))[0] == 401, "not even what there is"

    on_api(tmp_path, work, [doors], token=True)


@pytest.mark.parametrize(
    "given",
    ["", TOKEN, "Bearer", "Bearer ", "Bearer wrong", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}",
     f"Bearer {TOKEN} {TOKEN}", f"Bearer,{TOKEN}", "Bearer \udcff"],
)  # fmt: skip
def test_another_token_is_refused_in_constant_words(tmp_path: Path, given: str) -> None:
    async def work(api: Api) -> None:
        head = b"GET /v2/door/admin HTTP/1.1\r\n" + HOST
        answer = await raw(api, head + b"Authorization: " + given.encode("utf-8", "surrogateescape") + b"\r\n" + CLOSE)
        assert answer.split(b" ")[1] in (b"401", b"400")
        assert b"credentials are missing or wrong" in answer or answer.split(b" ")[1] == b"400"
        assert TOKEN.encode() not in answer

    on_api(tmp_path, work, [Doors()], token=True)


def test_the_scheme_is_written_as_one_likes_and_the_token_is_not(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        assert await may(api, {"authorization": f"bearer {TOKEN}"}) == 200
        assert await may(api, {"AUTHORIZATION": f"BEARER {TOKEN}"}) == 200
        assert await may(api, {"Authorization": f"Bearer {TOKEN.upper()}"}) == 401

    on_api(tmp_path, work, [Doors()], token=True)


@pytest.mark.parametrize("text", [None, "short"])
def test_a_token_that_is_missing_or_short_stops_the_start(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "short").write_text(text)

    async def work(_: Api) -> None:
        raise AssertionError

    with pytest.raises(ConfigError, match=r"http\.token_file"):
        on_api(tmp_path, work, token_file=tmp_path / "short")


# -- ways round


TARGETS = (
    b"/v2/door/../door/admin", b"/v2//door/admin", b"/v2/door/admin/", b"/V2/door/admin", b"/v2/door/%61dmin",
    b"/v2%2Fdoor%2Fadmin", b"/v2/door/admin;x=/livez", b"/livez/../v2/door/admin", b"/v2/door/admin?/livez",
    b"/livez%3f/../v2/door/admin", b"/v2/door/admin%00/livez", b"/v2/door/./admin", b"http://localhost/v2/door/admin",
    b"//localhost/v2/door/admin", b"/v2/door/admin#/livez", b"/v2/door\\admin", b"*", b"/v2/door/admin?a=1&a=2",
)  # fmt: skip


@pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD", b"OPTIONS", b"get", b"TRACE", b"CONNECT"])
def test_no_writing_of_a_path_or_method_passes_by_the_check(tmp_path: Path, method: bytes) -> None:
    doors = Doors()

    async def work(api: Api) -> None:
        for target in TARGETS:
            answer = await raw(api, method + b" " + target + b" HTTP/1.1\r\n" + HOST + CLOSE)
            assert not answer.startswith(b"HTTP/1.1 2"), answer[:200]
        assert doors.passed == []

    on_api(tmp_path, work, [doors], token=True)


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {TOKEN}")],
        [("Authorization", "Bearer wrong"), ("Authorization", f"Bearer {TOKEN}")],
        [("Authorization", f"Bearer {TOKEN}"), ("authorization", "Bearer wrong")],
        [("Authorization", f"Bearer wrong\r\n Bearer {TOKEN}")],
        [("X-Forwarded-For", "127.0.0.1"), ("Forwarded", "for=127.0.0.1")],
        [("X-HTTP-Method-Override", "GET"), ("X-Original-URL", "/livez"), ("X-Rewrite-URL", "/livez")],
        [("Cookie", f"Authorization=Bearer {TOKEN}"), ("Proxy-Authorization", f"Bearer {TOKEN}")],
        [("X-Partyd-Forwarded", "1")],
    ],
)
def test_no_other_header_is_believed_and_none_twice(tmp_path: Path, headers: list[tuple[str, str]]) -> None:
    doors = Doors()

    async def work(api: Api) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers).encode()
        answer = await raw(api, b"GET /v2/door/viewer HTTP/1.1\r\n" + HOST + lines + CLOSE)
        assert answer.split(b" ")[1] in (b"401", b"400"), answer[:200]
        assert doors.passed == []

    on_api(tmp_path, work, [doors], token=True)


def test_a_body_is_not_read_for_a_stranger(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        for path in ("file", "text", "admin"):
            head = f"POST /v2/door/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n".encode()
            assert (await raw(api, head + CLOSE + b"x", head_only=True)).startswith(b"HTTP/1.1 401")

    on_api(tmp_path, work, [Doors()], token=True)


# -- an app's signature


@pytest.mark.parametrize(
    ("role", "statuses"),
    [("", [403, 403, 403]), ("viewer", [200, 403, 403]), ("site", [200, 403, 403]), ("operator", [200, 200, 403]),
     ("client", [200, 200, 403]), ("admin", [200, 200, 200]), ("super_client", [200, 200, 200])],
)  # fmt: skip
def test_a_role_opens_its_doors_and_no_other(tmp_path: Path, role: str, statuses: list[int]) -> None:
    async def work(api: Api) -> None:
        app = await api.app_of(role)
        for method in ("GET", "POST"):
            found = []
            for door in DOORS:
                target = f"/v2/door/{door}"
                headers = api.signed(app, method, target)
                status, reply = (await api.get(target, headers)) if method == "GET" else await send(api, door, headers)
                found.append(status)
                assert reply["code"] == (0 if status == 200 else 5005)
            assert found == statuses

    async def send(api: Api, door: str, headers: dict[str, str]) -> tuple[int, Any]:
        return await api.post(f"/v2/door/{door}", b"", headers)

    on_api(tmp_path, work, [Doors()], token=True)


def test_the_handler_knows_who_asked(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        app = await api.app_of("viewer", "Anna")
        _, reply = await api.get("/v2/door/viewer", api.signed(app, "GET", "/v2/door/viewer"))
        assert reply["data"] == f"Anna ({app['app_id']})"
        assert (await api.get("/v2/door/viewer", OWNER))[1]["data"] == "owner"

    on_api(tmp_path, work, [Doors()], token=True)


def test_what_was_signed_for_one_request_is_good_for_no_other(tmp_path: Path) -> None:
    doors = Doors()

    async def work(api: Api) -> None:
        app = await api.app_of("admin")
        other = await api.app_of("viewer")
        body = b'{"a": 1}'
        for method, target, signed in [
            ("POST", "/v2/door/admin", b""), ("GET", "/v2/door/operator", b""), ("GET", "/v2/door/admin?x=1", b""),
            ("GET", "/v2/door/admin", body),
        ]:  # fmt: skip
            assert await may(api, api.signed(app, method, target, signed), "admin") == 401
        for sent, signed in [(b"{}", b""), (body, b"{}"), (b"", b"{}")]:
            headers = api.signed(app, "POST", "/v2/door/admin", signed)
            assert (await api.post("/v2/door/admin", sent, headers))[0] == 401
        for wrong in [
            app | {"app_token": "x" * 43}, app | {"app_token": ""}, app | {"app_id": other["app_id"]},
            app | {"app_id": "00000000"}, app | {"app_id": "x" * 64},
        ]:  # fmt: skip
            status, reply = await api.get("/v2/door/admin", api.signed(wrong, "GET", "/v2/door/admin"))
            assert (status, reply["code"]) == (401, 5003)
            assert "missing or wrong" in reply["message"]
        assert doors.passed == []

    on_api(tmp_path, work, [doors], token=True)


def test_a_nonce_counts_once_and_a_minute(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        app = await api.app_of("viewer")
        target = "/v2/door/viewer"
        headers = api.signed(app, "GET", target)
        assert await may(api, headers) == 200
        assert (await api.get(target, headers))[1]["code"] == 5004
        assert await may(api, api.signed(app, "GET", target, ts=NOW - 1)) == 401, "signed before the daemon began"
        api.clock.now += 61
        status, reply = await api.get(target, headers)
        assert (status, reply["code"]) == (401, 5000)
        assert "clock" in reply["message"]
        for skew, expected in ((-60, 200), (-61, 401), (60, 200), (61, 401)):
            assert await may(api, api.signed(app, "GET", target, ts=api.clock.now + skew)) == expected, skew

    on_api(tmp_path, work, [Doors()], token=True)


def test_a_deleted_app_and_a_lost_role_count_at_once(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        app = await api.app_of("operator")
        operator = "/v2/door/operator"
        assert await may(api, api.signed(app, "GET", operator), "operator") == 200
        assert (await api.post("/v2/permission/grant", {"app_id": app["app_id"], "role": "viewer"}, OWNER))[0] == 200
        assert await may(api, api.signed(app, "GET", operator), "operator") == 403
        assert (await api.post("/v2/client/delete", {"app_id": app["app_id"]}, OWNER))[1]["data"] == {"status": True}
        assert await may(api, api.signed(app, "GET", operator), "operator") == 401

    on_api(tmp_path, work, [Doors()], token=True)


def header(app: dict[str, Any], **other: str) -> str:
    made = signing.authorization(
        app["app_id"], app["app_token"], "GET", "/v2/door/viewer", NOW, "n" * 16, signing.EMPTY_BODY
    )
    for key, value in other.items():
        made = made.replace(key, value)
    return made


@pytest.mark.parametrize(
    ("old", "new"),
    [("app_id=", "app_id= "), ("ts=", "ts=0"), ("ts=", "ts=+"), ("ts=", "ts=-"), ("nonce=", "nonce=\t"),
     (", body", ",, body"), ("body=", "body=A"), ("nonce=nnn", "nonce=n"), ("signature=", "Signature="),
     ("signature=", "signature=x, signature="), ("nonce=", "nonce=1, nonce="), (", ", " "), ("PARTYD-", "partyd-"),
     ("HMAC-SHA256 ", "HMAC-SHA256\t"), ("ts=", "user=me, ts="), ("app_id=", "app_id=é"), ("ts=", "ts=1" * 200)],
)  # fmt: skip
def test_a_header_of_another_form_is_refused(tmp_path: Path, old: str, new: str) -> None:
    async def work(api: Api) -> None:
        app = await api.app_of("viewer")
        line = f"Authorization: {header(app, **{old: new})}\r\n".encode()
        answer = await raw(api, b"GET /v2/door/viewer HTTP/1.1\r\n" + HOST + line + CLOSE)
        assert answer.split(b" ")[1] in (b"401", b"400"), answer[:300]
        assert await may(api, {"Authorization": header(app)}) == 200

    on_api(tmp_path, work, [Doors()], token=True)


# -- bodies


def test_a_streamed_body_is_checked_while_it_comes(tmp_path: Path) -> None:
    doors = Doors()

    async def work(api: Api) -> None:
        app = await api.app_of("operator")
        body = b"id,x\n" * 10_000
        headers = api.signed(app, "POST", "/v2/door/file", body)
        assert (await api.post("/v2/door/file", body, headers))[1]["data"] == len(body)
        doors.passed.clear()
        for sent in (body + b"a,1\n", body[:-1], b""):
            headers = api.signed(app, "POST", "/v2/door/file", body)
            status, reply = await api.post("/v2/door/file", sent, headers)
            assert (status, reply["code"]) == (401, 5003)
        assert doors.passed == []
        headers = api.signed(app, "POST", "/v2/door/careless", body)
        async with api.http.post("/v2/door/careless", data=body, headers=headers) as reply:
            assert reply.status == 500, "an endpoint that does not check its body answers nothing"

    on_api(tmp_path, work, [doors], token=True)


def test_a_text_is_checked_before_anybody_reads_it(tmp_path: Path) -> None:
    doors = Doors()

    async def work(api: Api) -> None:
        app = await api.app_of("operator")
        headers = api.signed(app, "POST", "/v2/door/text", b"a: 1")
        assert (await api.post("/v2/door/text", b"a: 1", headers))[1]["data"] == 4
        headers = api.signed(app, "POST", "/v2/door/text", b"a: 1")
        assert (await api.post("/v2/door/text", b"a: 2", headers))[0] == 401
        large = b"x" * (1 << 20) + b"x"
        assert (await api.post("/v2/door/text", large, api.signed(app, "POST", "/v2/door/text", large)))[0] == 413
        assert doors.passed == ["/v2/door/text"]

    on_api(tmp_path, work, [doors], token=True)


def test_only_uploads_go_unsigned_and_a_form_cannot_be_signed(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        app = await api.app_of("admin")

        async def unsigned(door: str) -> int:
            headers = api.signed(app, "POST", f"/v2/door/{door}", digest=signing.UNSIGNED)
            return (await api.post(f"/v2/door/{door}", b"{}", headers))[0]

        assert [await unsigned(door) for door in ("form", "file", "text", "admin")] == [200, 200, 401, 401]
        headers = api.signed(app, "POST", "/v2/door/form", b"{}")
        assert (await api.post("/v2/door/form", b"{}", headers))[0] == 401

    on_api(tmp_path, work, [Doors()], token=True)


def test_an_unsigned_upload_from_elsewhere_needs_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partyd.api.auth._is_local", lambda _: False)

    async def work(api: Api) -> None:
        app = await api.app_of("admin")
        headers = api.signed(app, "POST", "/v2/door/form", digest=signing.UNSIGNED)
        status, reply = await api.post("/v2/door/form", b"{}", headers)
        assert (status, "TLS" in reply["message"]) == (401, True)

    on_api(tmp_path, work, [Doors()], token=True)


# -- FATE's scheme


def test_fates_headers_count_where_they_are_configured(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        app = await api.app_of("client")
        assert await may(api, fate(app), "operator") == 200
        assert await may(api, fate(app), "admin") == 403
        assert await may(api, fate(app, user=""), "viewer") == 200
        assert await may(api, {k: v for k, v in fate(app, "1", user="").items() if k != "userName"}) == 200
        assert await may(api, {}) == 401
        for name in FATE_HEADERS:
            assert await may(api, {k: v for k, v in fate(app, "2").items() if k != name}) == 401
            assert await may(api, fate(app, "2") | {name: "0" * 32}) == 401
        assert await may(api, fate(app, "3") | OWNER) == 401, "one kind of credentials"
        assert await may(api, fate(app | {"app_token": "x"}, "4")) == 401

    on_api(tmp_path, work, [Doors()], token=True, fate_auth=True)


def test_fates_headers_are_refused_where_they_are_not_configured(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        app = await api.app_of("client")
        assert await may(api, fate(app), "operator") == 401

    on_api(tmp_path, work, [Doors()], token=True)


def test_fates_signature_counts_once_for_what_changes_something(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        app = await api.app_of("client")
        post = [(await api.post("/v2/door/operator", {}, fate(app)))[0] for _ in range(2)]
        assert post == [200, 401]
        assert [await may(api, fate(app)) for _ in range(2)] == [200, 200], "its client repeats nonces by chance"
        moved = fate(app, "23", user="me1") | {"Signature": fate(app, "123")["Signature"]}
        assert (await api.post("/v2/door/operator", {}, fate(app, "123")))[0] == 200
        assert (await api.post("/v2/door/operator", {}, moved))[0] == 401, "the same text, cut elsewhere"
        for ts in (NOW - 61, NOW + 61, NOW - 1):
            assert (await api.post("/v2/door/operator", {}, fate(app, "5", ts * 1000)))[0] == 401

    on_api(tmp_path, work, [Doors()], token=True, fate_auth=True)


def test_fates_own_client_signs_as_we_check(tmp_path: Path) -> None:
    """The inner digest is over appId, userName, Nonce, Timestamp; the outer over it and the token: a known answer."""
    made = fate({"app_id": "123", "app_token": "tok"}, "1234", 1_700_000_000_000, "bob")
    assert (
        made["Signature"]
        == hashlib.md5((hashlib.md5(b"123bob12341700000000000").hexdigest() + "tok").encode()).hexdigest()
    )


@pytest.mark.parametrize(("said", "status"), [("VIEWER", 403), ("OPERATOR", 403), ("ADMIN", 200), ("nonsense", 200)])
def test_the_owner_can_ask_with_the_rights_of_somebody_else(tmp_path: Path, said: str, status: int) -> None:
    async def work(api: Api) -> None:
        assert (await api.get("/v2/app/client/query", {LOWERED_HEADER: said}))[0] == status

    on_api(tmp_path, work)


def test_nobody_rises_by_asking_for_it(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        app = await api.app_of("viewer")
        target = "/v2/app/client/query"
        assert (await api.get(target, api.signed(app, "GET", target) | {LOWERED_HEADER: "ADMIN"}))[0] == 403
        assert (await api.get(target, {LOWERED_HEADER: "ADMIN"}))[0] == 401

    on_api(tmp_path, work, token=True)
