"""The console: signing up, in and out, its cookie, and the account."""

import pytest

from app.accounts import recovery
from app.extensions import db
from app.repositories import users
from tests.integration.helpers import refused
from tests.integration.pages import Elements, Person, alert_of, errors_of, note_of
from tools.story import PASSWORD, Client

SOURCES = "/console/sources"


def test_the_address_of_the_service_leads_to_the_first_account_while_there_is_none(app):
    page = Person(app).visit("/")
    assert page.request.path == "/console/sign-up"
    assert "Make the first" in page.text


def test_the_address_of_the_service_leads_who_is_not_signed_in_to_sign_in_and_others_to_their_sources(app, ana, person):
    assert Person(app).visit("/").request.path == "/console/sign-in"
    assert person.visit("/").request.path == SOURCES


def test_who_signs_up_is_signed_in(app):
    person = Person(app)
    page = person.submit("/console/sign-up", name="Ana", email="ana@example.com", password=PASSWORD)
    assert page.request.path == SOURCES
    assert page.status_code == 200


def test_where_registration_is_closed_the_page_says_so_and_has_no_form(make_app):
    person = Person(make_app(REGISTRATION="closed"))
    page = person.get("/console/sign-up")
    assert "Registration is closed on this server. Ask its operator for an account." in page.text
    assert not Elements(page).of("form")
    person.post("/console/sign-up", name="Ana", email="ana@example.com", password=PASSWORD)
    assert person.page.status_code == 403
    assert person.get("/console/sources").status_code == 302
    assert "Make one" not in person.get("/console/sign-in").text


@pytest.mark.parametrize(
    ("field", "value"),
    [("email", "ana"), ("email", ""), ("name", ""), ("name", "a\tb"), ("password", "short"), ("password", "x" * 201)],
)
def test_what_the_api_refuses_a_page_refuses_with_the_same_sentence_beside_the_field(app, client, field, value):
    typed = {"name": "Ana Typed", "email": "typed@example.com", "password": PASSWORD, field: value}
    told = refused(client.post("/user", typed), 400)["errors"]["json"]
    page = Person(app).post("/console/sign-up", **typed)
    assert page.status_code == 400
    assert errors_of(page) == {field: " ".join(told[field])}
    kept = {attributes["name"]: attributes.get("value") for attributes in Elements(page).of("input")}
    assert kept["name"] == typed["name"]
    assert kept["email"] == typed["email"]
    assert kept["password"] == "", "a password is not written into a page"


def test_a_taken_e_mail_is_refused_beside_its_field(app, ana):
    page = Person(app).post("/console/sign-up", name="Ana", email="ANA@example.com", password=PASSWORD)
    assert page.status_code == 409
    assert errors_of(page) == {"email": "An account with this e-mail exists already."}


def test_a_wrong_password_and_an_unknown_e_mail_are_refused_alike(app, ana):
    for email, password in (("ana@example.com", "wrong"), ("nobody@example.com", PASSWORD)):
        page = Person(app).sign_in(email, password)
        assert page.status_code == 401
        assert alert_of(page) == "The e-mail or the password is wrong."
        assert f'value="{email}"' in page.text


def test_guesses_at_the_page_and_at_the_api_count_together(make_app, ana):
    app = make_app(SIGN_IN_ACCOUNT_LIMIT="2 per hour")
    wrong = {"email": "ana@example.com", "password": "wrong"}
    refused(Client(app).post("/user/auth", wrong), 401)
    assert Person(app).sign_in(**wrong).status_code == 401
    page = Person(app).sign_in()
    assert page.status_code == 429
    assert int(page.headers["Retry-After"]) > 0
    assert alert_of(page).startswith("Too many attempts with a wrong e-mail or password. Try again in ")
    refused(Client(app).post("/user/auth", wrong), 429)


def test_the_cookie_is_for_the_console_alone_and_out_of_reach_of_scripts(app, ana):
    cookie = Person(app).sign_in().headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/console" in cookie
    assert "Secure" not in cookie


def test_the_cookie_is_secure_under_https(make_app, ana):
    direct = Person(make_app(), base_url="https://localhost")
    assert "; Secure" in direct.sign_in().headers["Set-Cookie"]
    proxied = Person(make_app(TRUSTED_PROXIES="1"), headers={"X-Forwarded-Proto": "https"})
    assert "; Secure" in proxied.sign_in().headers["Set-Cookie"]
    public = make_app(PUBLIC_URL="https://traffic.example.com")
    assert "; Secure" in Person(public, base_url="http://traffic.example.com").sign_in().headers["Set-Cookie"]
    assert "Secure" not in Person(public, base_url="http://127.0.0.1:8000").sign_in().headers["Set-Cookie"]


def test_the_api_takes_no_cookie(app, person):
    for method, path in (("GET", "/user"), ("POST", "/traffic-sources"), ("POST", "/user/logout")):
        answer = person.client.open(path, method=method, headers={"Cookie": f"console={person.cookie}"}, json={})
        refused(answer, 400)
    assert person.get(SOURCES).status_code == 200


def test_a_changed_cookie_signs_nobody_in(app, person):
    thief = Person(app)
    thief.client.set_cookie("console", f"{person.cookie}x", path="/console")
    assert thief.get(SOURCES).status_code == 302


def test_a_cookie_that_was_there_before_the_sign_in_is_not_the_one_after_it(app, ana):
    attacker, victim = Person(app), Person(app)
    token = attacker.token()
    victim.client.set_cookie("console", attacker.cookie, path="/console")
    victim.sign_in()
    assert victim.cookie != attacker.cookie
    assert attacker.get(SOURCES).status_code == 302
    assert victim.post("/console/sources", token, name="Shop", trafficDomain="shop.example.com").status_code == 400


def test_a_stolen_cookie_is_good_for_nothing_after_the_sign_out(app, person):
    thief = Person(app)
    thief.client.set_cookie("console", person.cookie, path="/console")
    assert thief.get(SOURCES).status_code == 200
    page = person.submit("/console/sign-out")
    assert page.request.path == "/console/sign-in"
    assert note_of(page) == "You are signed out."
    assert thief.get(SOURCES).headers["Location"].startswith("/console/sign-in")


def test_a_new_password_signs_out_everywhere_but_here(app, person):
    other = Person(app)
    other.sign_in()
    changes = {"currentPassword": PASSWORD, "password": "another canary password"}
    page = person.submit("/console/account/password", **changes)
    assert page.status_code == 200
    assert note_of(page) == "Your password is changed. Everywhere else you are signed out."
    assert other.get(SOURCES).status_code == 302
    assert Person(app).sign_in(password="another canary password").status_code == 302


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"currentPassword": "wrong", "password": "another canary password"}, 403, "The current password is wrong."),
        ({"currentPassword": PASSWORD, "password": "short"}, 400, "Length must be between 10 and 200."),
    ],
)
def test_a_password_that_is_not_changed_is_refused_beside_its_field(person, changes, code, told):
    page = person.post("/console/account/password", **changes)
    assert page.status_code == code
    assert list(errors_of(page).values()) == [told]
    assert "canary" not in page.text


def test_signing_out_everywhere_ends_every_session_and_token(app, ana, person):
    other = Person(app)
    other.sign_in()
    assert person.submit("/console/account/sign-out-everywhere").request.path == "/console/sign-in"
    assert other.get(SOURCES).status_code == 302
    refused(ana.get("/user"), 401)


def test_name_and_e_mail_are_changed(ana, person):
    person.submit("/console/account", name="Ana Maria", email="ana.maria@example.com")
    assert note_of(person.page) == "Your account is changed."
    user = ana.get("/user").json
    assert (user["name"], user["email"]) == ("Ana Maria", "ana.maria@example.com")


def test_who_is_not_signed_in_signs_in_first_and_lands_where_the_link_led(app, ana, story):
    record_id = story.report()
    person = Person(app)
    page = person.visit(f"/console/records/{record_id}")
    assert page.request.path == "/console/sign-in"
    (wanted,) = [each["value"] for each in Elements(page).of("input") if each.get("name") == "next"]
    assert person.sign_in(next=wanted).headers["Location"] == f"/console/records/{record_id}"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example.com/console/sources",
        "//evil.example.com/console",
        "/\\evil.example.com",
        "\\\\evil.example.com",
        "/console/../\\evil",
        "javascript:alert(1)",
        "/docs",
        "/consoles",
        "http:///console",
        "/console\n/x",
        "\t//evil.example.com",
    ],
)
def test_after_signing_in_nobody_is_led_elsewhere(app, ana, elsewhere):
    assert Person(app).sign_in(next=elsewhere).headers["Location"] == SOURCES


@pytest.mark.parametrize("token", ["", "made up", "IjEi.aaaa.bbbb"])
def test_a_form_without_its_token_changes_nothing_and_is_shown_again_with_what_was_typed(ana, person, token):
    page = person.post(SOURCES, token, name="Typed name", trafficDomain="typed.example.com")
    assert page.status_code == 400
    assert alert_of(page) == "This page was open for too long. Try again."
    assert 'value="Typed name"' in page.text
    assert 'value="typed.example.com"' in page.text
    assert ana.get("/traffic-sources").json["data"] == []


def test_a_token_of_another_session_is_refused(app, ana, person):
    other = Person(app)
    other.sign_in()
    page = person.post(SOURCES, other.token(), name="Shop", trafficDomain="shop.example.com")
    assert page.status_code == 400


def test_a_large_form_is_refused_on_a_page(person):
    page = person.post(SOURCES, name="x" * 200_000)
    assert page.status_code == 413
    assert page.content_type == "text/html; charset=utf-8"
    assert "at most 131,072 bytes" in page.text


def test_an_account_is_deleted_with_its_password_after_it_was_said_what_goes_with_it(app, client, person):
    assert "All your sources go with it" in person.get("/console/account/delete").text
    page = person.post("/console/account/delete", password="wrong")
    assert page.status_code == 403
    assert errors_of(page) == {"password": "The current password is wrong."}
    page = person.submit("/console/account/delete", password=PASSWORD)
    assert note_of(page) == "Your account is deleted, with all that belonged to it."
    refused(client.post("/user/auth", {"email": "ana@example.com", "password": PASSWORD}), 401)


def link_for(app, email):
    with app.app_context():
        link = recovery.new_link(users.get_by_email(email))
        db.session.commit()
    return link[link.index("/console/") :]


def test_who_forgot_the_password_sets_a_new_one_by_the_link_once(app, ana, person):
    link = link_for(app, "ana@example.com")
    page = Person(app).post(link, password="short")
    assert page.status_code == 400
    assert errors_of(page) == {"password": "Length must be between 10 and 200."}
    page = Person(app).submit(link, password="another canary password")
    assert page.request.path == "/console/sign-in"
    assert note_of(page) == "Your password is changed. Sign in with it."
    assert person.get(SOURCES).status_code == 302
    assert Person(app).sign_in(password="another canary password").status_code == 302
    for page in (Person(app).get(link), Person(app).post(link, password="a third canary password")):
        assert page.status_code == 400
        assert "This link to set a password is unknown, used already, or older than an hour" in page.text


def test_who_asks_for_a_link_learns_nothing_of_accounts(make_app, ana, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr("app.accounts.mailer.mail_link", asked.append)
    mail = {"SMTP_URL": "smtps://user:password@127.0.0.1:1", "MAIL_FROM": "traffic@example.com"}
    app = make_app(**mail, PUBLIC_URL="https://traffic.example.com")
    told = {
        note_of(Person(app).submit("/console/forgot-password", email=email))
        for email in ("ana@example.com", "nobody@example.com")
    }
    assert told == {"If there is an account with this e-mail, a link to set a new password is on its way."}
    assert asked == ["ana@example.com", "nobody@example.com"]


def test_where_no_mail_is_sent_the_page_says_whom_to_ask(app):
    page = Person(app).get("/console/forgot-password")
    assert "Ask its operator" in page.text
    assert not Elements(page).of("form")
