//! The security requirements and the attacks, in our own words. The numbers are those in the names of the tests.

/// A group of requirements.
pub(crate) struct Group {
    /// What they concern.
    pub(crate) title: &'static str,
    /// Number and requirement.
    pub(crate) items: &'static [(u32, &'static str)],
}

/// All 96.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        title: "Asking for a sign-in",
        items: &[
            (
                1,
                "Only an authenticated caller gets a sign-in URL, and its sealed state names the organization, issuer and subject that asked.",
            ),
            (2, "Each state has at least 128 random bits from the operating system; without randomness there is no URL."),
            (3, "A state is sealed: with any bit changed it is refused."),
            (4, "A state lives ten minutes at most, by our own clock and not by the table's TTL."),
            (5, "PKCE with S256 always, with a fresh verifier of 256 bits for each sign-in that no URL, log or state shows."),
            (
                6,
                "Where the provider says nothing of PKCE it is used all the same, state and nonce are held to, and the operator is warned.",
            ),
            (7, "OpenID sign-ins have a nonce of their own, kept nowhere in clear."),
            (8, "The response type is `code` and nothing else."),
            (9, "Scopes stay within what the connection allows; `offline_access` is the connection's wish."),
            (10, "One connection selector at most; several, or an empty one, are refused."),
            (11, "Every value is percent-encoded; no caller's value adds or replaces a parameter of ours."),
            (12, "The browser is sent to the endpoint of the pinned configuration, over https."),
            (13, "The URL and the callback fit the gateway's limits, however long state and code are."),
            (14, "Every route has a throttle of its own, and making URLs stores nothing."),
            (15, "Requests are pushed where the provider or the connection demands it; the browser then carries two names only."),
        ],
    },
    Group {
        title: "Redirect URIs",
        items: &[
            (16, "A redirect URI has to be registered to the letter."),
            (17, "https only, with the exceptions that the contract names."),
            (18, "A port may be left open on loopback hosts only."),
            (
                19,
                "A wildcard is one asterisk within the left-most label, stands for one label of plain characters, and is never the default.",
            ),
            (20, "No wildcard on a public suffix, those of private registries included."),
            (21, "A URI is parsed once, by one parser; what two parsers could read differently is not registered."),
            (22, "The browser leaves only for the registered URI that is sealed in the state."),
            (23, "Each connection has a callback of its own, and path and state have to agree."),
        ],
    },
    Group {
        title: "Callback and completion",
        items: &[
            (
                24,
                "Whoever began a sign-in ends it: by redirect their session decides before any token request, directly their identity decides before anything is stored, and what was obtained for another is given back.",
            ),
            (25, "That binding fails closed, and nothing switches it off."),
            (26, "A state is used once, before the exchange, however many come at once."),
            (27, "Errors at the callback need a good state, consume it, and are passed on in known words only."),
            (28, "The `iss` parameter is compared exactly; missing where advertised, or present where not, it is refused."),
            (29, "A parameter that comes twice is refused."),
            (30, "A code goes to the token endpoint of the connection in its state and to no other."),
            (31, "The token request repeats the redirect URI of the authorization request."),
            (32, "A code is never logged, never stored in clear, and never sent twice."),
            (33, "Pages load nothing, are kept from caches, referrers and frames; redirects are 303."),
            (34, "HEAD, OPTIONS, prefetches and previews consume nothing that the person needs."),
            (35, "Completing takes JSON and a bearer token, no cookie; CORS is for named origins only."),
            (36, "No page speaks to another window."),
        ],
    },
    Group {
        title: "What providers answer",
        items: &[
            (37, "Clients prove themselves by Basic or a signed assertion whose one audience is the issuer; a secret is never in a URL."),
            (38, "No redirect is followed; TLS 1.2 or newer, verified; 3 s to connect, 10 s in all, 256 KiB."),
            (39, "The token type has to be Bearer, in any case of letters."),
            (40, "A lifetime that is untold or senseless is the connection's default, never endless."),
            (41, "The scopes that were granted are recorded, and what is missing is shown."),
            (42, "A new refresh token replaces the old, none keeps it, and scopes never grow."),
            (43, "id_tokens are signed by algorithms on our list; `none` and HMAC are refused."),
            (44, "A public key is never taken for an HMAC secret."),
            (45, "Issuer, audience, authorized party and times of an id_token hold, with 60 s of leeway."),
            (46, "Times of the wrong JSON type are refused."),
            (47, "The nonce is there and equal."),
            (48, "`at_hash` is checked where it is present."),
            (49, "A person is issuer and subject, never an address."),
            (50, "The id_token of a refresh is of the same person."),
            (51, "Userinfo speaks of the same subject."),
            (52, "Unknown key ids cause one request for keys in five minutes; keys in token headers are never used."),
            (53, "A key made just before signing works, a removed one stops working."),
            (54, "Metadata is the configured issuer's own, and names endpoints that may be called."),
            (55, "Hostile JSON is refused without a panic."),
        ],
    },
    Group {
        title: "The API and its tenants",
        items: &[
            (56, "Each function verifies the bearer token itself: signature, type, issuer, audience, times."),
            (57, "Every key begins with the caller's organization; a foreign id gets the very answer of an unknown one."),
            (58, "A function is invoked by its integration only, and nothing in an event but the token says who calls."),
            (59, "Handing out needs the scope, a binding in the organization, and the workflow of the token if it names one."),
            (60, "No answer holds a refresh token or an id_token."),
            (61, "Every route needs its own scope."),
            (62, "Every error has the four fields and no internals."),
            (63, "Cursors are sealed and bound to their organization."),
            (64, "Creating and completing can be repeated safely."),
        ],
    },
    Group {
        title: "Cryptography and secrets",
        items: &[
            (65, "Tokens are stored as ciphertext only, and no plaintext goes to any service, log or metric."),
            (66, "A ciphertext opens at its organization, record, field and version, and nowhere else."),
            (67, "No key seals two messages."),
            (68, "The encryption context holds no personal data and no secret."),
            (69, "The key's policy demands the purpose and the roles; after a rotation old versions open."),
            (70, "Client secrets and state keys are rotated without a failure, and an outage is bridged."),
            (71, "Secrets are wiped, do not print, compare or serialize, and no panic or fault carries one."),
            (72, "What an attacker could probe is compared in constant time."),
            (73, "Vetted cryptography only, and no `unsafe` of our own."),
            (74, "No secret in an environment variable, no core dump, nothing in `/tmp`."),
        ],
    },
    Group {
        title: "Requests to the outside",
        items: &[
            (75, "Endpoints come from the directory or from the pinned issuer's metadata, over https, without userinfo."),
            (76, "The address is judged when it is connected to: nothing private, no metadata service, no runtime API, no rebinding."),
            (77, "Another AWS endpoint, proxies and certificates of the environment count in development only or never."),
            (78, "What providers say is cut and cleaned before it is logged."),
        ],
    },
    Group {
        title: "Log, audit, privacy",
        items: &[
            (79, "The log has known fields, and no code, state, verifier, token, cookie or secret in any form."),
            (80, "The gateway's log has no query string."),
            (81, "Every act leaves a line with who, what, when and how it ended, which no function can change."),
            (82, "What does not happen in honest use raises a metric."),
            (83, "The address shown is the provider's own word, bounded, and never markup."),
        ],
    },
    Group {
        title: "Revocation",
        items: &[
            (84, "While workflows are bound an authorization is not revoked, and the refusal names them."),
            (85, "After an acknowledged revocation no hand-out, bind or refresh succeeds."),
            (86, "Providers are asked to revoke as RFC 7009 has it, until they have."),
            (87, "After a revocation no ciphertext is left in the table."),
            (88, "A grant that has ended is told once, seen in the list, tried no more, and renewed without re-binding."),
            (89, "What is unused, and what belongs to whom, can be found."),
        ],
    },
    Group {
        title: "Platform",
        items: &[
            (90, "One role to a function, which grants what the function was seen to use, and nothing else."),
            (91, "`create-url`, `list` and `assign` have no key and can read no token attribute."),
            (92, "The table is protected, dated back and encrypted; queues and logs are encrypted and end; nothing is public."),
            (93, "Callback and sweep have concurrency of their own."),
            (94, "The supply chain is known and checked."),
            (95, "A panic or the end of time is never a partial success."),
            (96, "This page names a test for each requirement, and taking a guard away turns a test red."),
        ],
    },
];

/// Requirements that no test bears the number of yet: each is a gap, and the page says so.
pub(crate) const OPEN: &[u32] = &[];

/// An attack, and the tests that play it.
pub(crate) struct Attack {
    /// What is tried.
    pub(crate) tries: &'static str,
    /// The names of the tests.
    pub(crate) tests: &'static [&'static str],
}

/// In each of them no token endpoint is asked, or nothing is kept.
pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        tries: "Session fixation: a victim opens a URL that the attacker asked for, in direct and in redirect mode",
        tests: &[
            "s24_session_fixation_by_url_in_direct_mode_stores_nothing_and_gives_the_tokens_back",
            "s24_session_fixation_by_url_in_redirect_mode_makes_no_token_request",
        ],
    },
    Attack {
        tries: "Account takeover across connections, with a malicious provider (COAT)",
        tests: &["s23_s30_coat_the_honest_providers_code_never_goes_to_the_attackers_token_endpoint"],
    },
    Attack {
        tries: "The same as forgery: the attacker's code in the victim's sign-in (CORF)",
        tests: &["s23_corf_the_attackers_code_is_not_forced_into_the_victims_flow"],
    },
    Attack { tries: "Session fixation across organizations", tests: &["s24_across_organizations_nothing_crosses"] },
    Attack {
        tries: "One client id in two organizations",
        tests: &[
            "one_client_id_in_two_organizations_is_refused_before_anything_is_served",
            "s30_a_code_of_one_organization_is_worth_nothing_at_anothers_connection_of_the_same_client",
        ],
    },
    Attack {
        tries: "Mix-up of two providers",
        tests: &["s28_s30_mix_up_a_code_of_the_honest_provider_is_never_sent_to_the_malicious_one"],
    },
    Attack {
        tries: "Injection of a stolen code into the attacker's own sign-in",
        tests: &[
            "s05_code_injection_the_victims_code_in_the_attackers_state_is_refused_by_pkce",
            "s07_s47_where_pkce_is_unknown_the_nonce_gives_an_injected_code_away",
        ],
    },
    Attack {
        tries: "PKCE downgrade, at the provider and at the application",
        tests: &[
            "s05_pkce_downgrade_a_url_without_its_challenge_or_with_plain_leads_nowhere",
            "s05_pkce_downgrade_of_the_application_is_refused_too",
        ],
    },
    Attack { tries: "Login CSRF", tests: &["login_csrf_the_attackers_sign_in_does_not_become_the_victims"] },
    Attack {
        tries: "Injection of another audience into a signed assertion",
        tests: &["s37_a_provider_that_names_anothers_token_endpoint_gets_no_assertion_for_the_other"],
    },
    Attack { tries: "Open redirect", tests: &["s22_open_redirect_the_browser_only_ever_leaves_for_the_address_in_the_state"] },
    Attack {
        tries: "Markup and foreign words in an error at the callback",
        tests: &["s27_callback_error_injection_nothing_that_was_written_into_an_error_is_ever_shown_or_passed_on"],
    },
    Attack {
        tries: "A flood of invented key ids",
        tests: &["s52_a_flood_of_made_up_kids_causes_at_most_one_request_for_keys_in_five_minutes"],
    },
    Attack {
        tries: "A decompression bomb",
        tests: &["a_decompression_bomb_is_never_unpacked", "s38_nothing_is_decompressed_and_nothing_compressed_is_asked_for"],
    },
    Attack {
        tries: "More than 300 hostile endpoints (SSRF), and names that turn to another address",
        tests: &[
            "s75_s76_hostile_endpoints_are_refused_before_anything_is_sent",
            "s76_a_name_that_turns_to_another_address_is_judged_by_the_one_that_is_connected_to",
        ],
    },
    Attack {
        tries: "Ciphertexts swapped between organizations by somebody who can write to the table",
        tests: &["s66_a_ciphertext_opens_at_its_place_and_at_no_other"],
    },
    Attack {
        tries: "An old ciphertext of the same record put back",
        tests: &["s66_a_ciphertext_opens_at_its_place_and_at_no_other", "s66_an_old_commit_never_overwrites_a_newer_record"],
    },
    Attack { tries: "A stolen cursor", tests: &["s63_a_stolen_cursor_shows_the_thief_nothing"] },
    Attack {
        tries: "An id_token as bearer token of the API",
        tests: &["s56_an_id_token_is_no_bearer_token_at_any_route_even_where_any_typ_is_taken"],
    },
    Attack {
        tries: "A forged event, sent to a function directly",
        tests: &[
            "s58_no_part_of_an_event_but_the_bearer_token_says_who_calls",
            "s58_events_of_other_services_and_shapes_are_refused_without_a_panic",
        ],
    },
    Attack {
        tries: "A link-preview bot at the callback",
        tests: &["s34_a_link_preview_bot_at_the_callback_takes_nothing_from_the_person_who_comes_after"],
    },
    Attack {
        tries: "Two tabs that finish one sign-in",
        tests: &["s26_two_tabs_finishing_one_state_make_one_token_request_and_see_one_outcome"],
    },
];
