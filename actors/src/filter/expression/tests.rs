//! Expressions by what they make of events; hostile ones; and random ones, of which none may panic.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::check::VARIABLES;
use super::*;
use crate::event::{Content, CreatedAt, EventId, NewEvent, json};

fn event(json: &str) -> Event {
    accepted(json::read(json.as_bytes(), usize::MAX).unwrap())
}

fn accepted(content: NewEvent) -> Event {
    let now = jiff::Timestamp::UNIX_EPOCH;
    let created_at = content.created_at.unwrap_or_else(|| CreatedAt::exact(now));
    let (id, content) = (EventId::first_at(now), Content::Given(content));
    Event { id, offset: 0, size: 1, created_at, content }
}

const FULL: &str = r#"{"type":"auth.failed","level":"warn","text":"no such user","traceId":"t1","spanId":"s1",
    "createdAt":"2026-11-22T10:12:19.5Z","data":{"x":5,"f":2.5,"big":18446744073709551615,"least":-9223372036854775808,
    "name":"alice","ok":true,"none":null,"empty":"","tags":["a","b"],"numbers":[1,2,3],"deep":{"er":{"x":"y"}},
    "to":[{"domain":"a.test","code":250},{"domain":"b.test","code":550}],"remote-ip":"10.0.0.7"}}"#;

fn bare() -> Event {
    accepted(NewEvent::default().with("x", "5"))
}

#[track_caller]
fn check(expression: &str, on_full: bool, on_bare: bool) {
    let parsed = Expression::parse(expression).unwrap();
    let matches = [event(FULL), bare()].map(|event| parsed.matches(&event));
    assert_eq!(matches, [on_full, on_bare], "{expression}");
}

#[track_caller]
fn check_refused(expression: &str, message: &str) {
    match Expression::parse(expression) {
        Err(QueryFault::BadExpression(what)) => assert_eq!(&*what, message, "{expression}"),
        other => panic!("{expression}: {other:?}"),
    }
}

#[test]
fn fields() {
    check("type == 'auth.failed'", true, false);
    check("type.startsWith('auth.') && text.contains('user')", true, false);
    check("level == 'WARN' && severity == 13", true, false);
    check("level == 'INFO' && severity == 9", false, true);
    check("severity >= 9", true, true);
    check("trace_id == 't1' && span_id == 's1'", true, false);
    check("type == '' && text == '' && trace_id == '' && span_id == ''", false, true);
    check("text.size() == 12 && size(type) > 3", true, false);
    check("text.endsWith('user')", true, false);
}

#[test]
fn times_are_instants_of_constants() {
    check("created_at > timestamp('2026-11-22T10:12:19Z')", true, false);
    check("created_at < timestamp('2026-11-22T12:12:19.6+02:00')", true, true);
    check("created_at == timestamp('2026-11-22T10:12:19.500Z')", true, false);
    check("created_at >= timestamp('1970-01-01T00:00:00Z')", true, true);
    check("created_at > '2026'", false, false);
    check_refused(
        "created_at > timestamp('today')",
        "`timestamp` takes a time as in RFC 3339: 2026-11-22T10:12:19Z",
    );
    check_refused(
        "created_at > timestamp(text)",
        "`timestamp` takes a text as it is written, in quotes",
    );
}

#[test]
fn numbers_are_exact_and_compare_across_their_kinds() {
    check("data.x == 5", true, false);
    check("data.x == 5.0 && data.x == 5u && data.x < 5.5", true, false);
    check("data.x + 1 == 6 && data.x * 2 > 9 && data.x % 2 == 1 && data.x - 6 == -1", true, false);
    check("data.f > 2 && data.f <= 2.5 && data.f / 2.0 == 1.25", true, false);
    check("data.big == 18446744073709551615u && data.big > 9223372036854775807", true, false);
    check("data.big == 18446744073709551614u", false, false);
    check("data.least == -9223372036854775808", true, false);
    // No overflow goes unnoticed.
    for failing in
        ["data.least - 1", "-data.least", "data.least / -1", "data.least % -1", "data.x / 0"]
    {
        check(&format!("{failing} != 0 || {failing} == 0"), false, false);
    }
    check("data.x == '5'", false, true);
    check("int(data.x) == 5", true, true);
    check("string(data.x) == '5'", true, true);
    check("double(data.x) > 4.9 && uint(data.x) == 5u", true, true);
}

#[test]
fn members_of_data() {
    check("data.name == 'alice' && data['name'] == 'alice'", true, false);
    check("data['remote-ip'] == '10.0.0.7'", true, false);
    check("data.ok", true, false);
    check("data.none == null", true, false);
    check("data.deep.er.x == 'y' && data['deep']['er']['x'] == 'y'", true, false);
    check("has(data.name) && has(data.deep.er) && !has(data.deep.nowhere)", true, false);
    check("has(data.x) && !has(data.y)", true, true);
    check("'name' in data && 'er' in data.deep", true, false);
    check("data.tags == ['a', 'b'] && ['a', 'b'] == data.tags", true, false);
    check("data.tags[1] == 'b' && data.numbers[0] + data.numbers[2] == 4", true, false);
    check("data.deep == data.deep && data.deep != data.to[0]", true, false);
    check("data == data", true, true);
    check("size(data) == 1 && data.size() == 1", false, true);
    check("data.name in ['alice', 'bob'] && data.x in data.numbers + [5]", true, false);
    check("data.to[0] in data.to && data.to[0] in [data.to[0]]", true, false);
}

#[test]
fn loops() {
    check("data.tags.exists(t, t == 'b')", true, false);
    check("data.tags.all(t, t.size() == 1)", true, false);
    check("data.numbers.exists_one(n, n > 2)", true, false);
    check("data.to.exists(r, r.code >= 500 && r.domain.endsWith('.test'))", true, false);
    check("data.to.filter(r, r.code == 250).size() == 1", true, false);
    check("data.to.map(r, r.domain) == ['a.test', 'b.test']", true, false);
    check("data.numbers.map(n, n > 1, n * 2) == [4, 6]", true, false);
    check("data.all(name, name != '')", true, true);
    check("data.exists(data, data == 'x')", true, true);
    check("[1, 5].exists(n, n == data.x)", true, false);
}

#[test]
fn patterns() {
    check("text.matches('^no .* us[e]r$')", true, false);
    check(r"matches(type, r'\.fail')", true, false);
    check("data.tags.exists(t, t.matches('^[b-z]$'))", true, false);
    check("data.x.matches('5')", false, true);
    check_refused("text.matches('(')", "a pattern that cannot be: unclosed group");
    check_refused(
        "text.matches('(a{50}){50}')",
        "a pattern that cannot be: Compiled regex exceeds size limit of 32768 bytes.",
    );
    check_refused("text.matches(type)", "`matches` takes a text as it is written, in quotes");
    check_refused("text.matches(type, 'a')", "`matches` takes one pattern");
}

#[test]
fn what_fails_or_is_no_boolean_does_not_match() {
    for expression in [
        "1",
        "'true'",
        "null",
        "data",
        "data.nowhere",
        "data.nowhere == 1",
        "!data.nowhere",
        "data.nowhere != 1",
        "data.name.first",
        "data.tags[5] == 'a'",
        "data.tags['a'] == 'a'",
        "data[5] == 1",
        "text < 5",
        "text + 5 == ''",
        "1 / 0 == 1",
        "int('x') == 1",
        "text.all(c, true)",
        "text[0] == 'n'",
        "data.x ? true : true",
        "data < data",
        "[1] + 1 == 1",
        "text - text == ''",
        "data + data == data",
        "created_at + 1 == created_at",
        "text in text",
        "-text == ''",
        "data.tags.map(t, t + 1) == []",
        "data.to.exists(r, r)",
    ] {
        check(expression, false, false);
    }
    // An error is no obstacle where the other side decides.
    check("data.nowhere == 1 || severity > 0", true, true);
    check("!(data.nowhere == 1 && severity < 0)", true, true);
}

#[test]
fn what_cannot_be_is_refused_with_what_and_where() {
    check_refused(
        "",
        "at its character 1: Syntax error: mismatched input '<EOF>' expecting expression",
    );
    check_refused(
        "data.x = 5",
        "at its character 8: Syntax error: mismatched input '=' expecting <EOF>",
    );
    check_refused("1 +\n )", "in its line 2, at character 2: unexpected token");
    check_refused("has(text)", "at its character 5: invalid argument to has() macro");
    let known = VARIABLES.join(", ");
    for name in ["name", "int", "optional", "r"] {
        let message = format!("`{name}` is unknown; known are {known}");
        check_refused(&format!("{name} == 1 || [1].all(r, r == 1)"), &message);
    }
    check_refused(
        "text.lowerAscii() == 'a'",
        "the function `lowerAscii` is unknown; known are size, contains, startsWith, endsWith, matches, int, uint, double, \
         string, bool, timestamp",
    );
    check_refused("{'a': 1} == data", "maps cannot be written in it");
    check_refused("a.b{c: 1} == data", "messages cannot be written in it");
    check_refused("@result", "at its character 1: unexpected character");
    check_refused("`@0`", "at its character 1: unexpected quoted identifier");
}

#[test]
fn white_space_around_it_does_not_count() {
    let filter = |query: &str| query.parse::<crate::filter::Filter>().unwrap();
    let canonical = "a=1&where=data.x+%3E+5&follow=span";
    for query in ["a=1&where=data.x+>+5", "where=%20data.x%20%3E%205%0A&a=1", canonical] {
        assert_eq!(filter(query).canonical(), canonical);
    }
    assert_ne!(filter("where=data.x>5"), filter("where=data.x>6"));
}

#[test]
fn an_expression_limits_and_is_limited() {
    let filter = |query: &str| query.parse::<crate::filter::Filter>().unwrap();
    let (full, bare) = (event(FULL), bare());
    let limited = filter("level=info").within(&filter("where=data.x==5"));
    assert!(limited.matches(&full) && limited.admits(&full));
    assert!(!limited.matches(&bare) && !limited.admits(&bare));
    let limited = filter("where=has(data.x)").within(&filter("type=auth"));
    assert!(limited.matches(&full) && !limited.matches(&bare) && !limited.admits(&bare));
    assert!(filter("where=has(data.y)").may_match(&bare), "what is cheap does not rule it out");
}

/// As long as a parameter may be.
const LONGEST: usize = 1024;

/// Texts made to lead a parser or an evaluation astray, of about so many bytes.
fn hostile(size: usize) -> Vec<String> {
    let mut texts: Vec<String> = [
        "(",
        "[",
        "{",
        "!",
        "-",
        "{1:",
        "f(",
        "has(",
        "[1].exists(a,",
        "'",
        "`",
        "@#$",
        "1 1 ",
        ",",
        "?",
        "a?",
        "a.b(c[d{",
        "\0",
        "ä",
        "b'\\",
        "//",
        "\n",
        "\"\"\"",
        ".",
        "a.",
        "0x",
        "1e",
        "\\u",
        "r'",
        "[[[[(((({{{{",
    ]
    .iter()
    .map(|piece| piece.repeat(size / piece.len()))
    .collect();
    for (begin, middle, end) in [
        ("(", "true", ")"),
        ("[", "1", "]"),
        ("!", "true", ""),
        ("-", "1", ""),
        ("1+", "1", ""),
        ("text+", "text", ""),
        ("true&&", "true", ""),
        ("false||", "true", ""),
        ("1==", "1", ""),
        ("1<", "1", ""),
        ("1 in ", "[1]", ""),
        ("true?1:", "1", ""),
        ("true?", "1", ":1"),
        ("", "data", ".a"),
        ("", "data", "[0]"),
        ("", "data", ".size()"),
        ("size(", "text", ")"),
        ("", "[text]", ".map(a,a+a)"),
        ("", "[1]", ".map(a,[a,a])"),
        ("", "data.list", ".map(a,a)"),
        ("data.list.exists(a,", "true", ")"),
        ("data.list.all(a,data.list.all(b,", "true", "))"),
        ("", "text", ".contains('')"),
        ("[1,2,3].map(a,", "a", ")"),
        ("", "text", ".matches('a')"),
        ("string(", "1", ")"),
    ] {
        let times = size / (begin.len() + end.len());
        texts.push(format!("{}{middle}{}", begin.repeat(times), end.repeat(times)));
    }
    for body in [
        "text.contains('b')",
        "a.contains(text)",
        "text.matches('(.*)*b')",
        "a in data.list",
        "a+a+a+a+a==''",
        "text+a==''",
        "data.list==data.list",
        "data==data",
        "size(text)==1",
        "data.a.b.c==1",
        "a.matches('([ab]*a[ab]{12})')",
    ] {
        texts.push(format!("data.list.all(a,{body})"));
        texts.push(format!("data.list.filter(a,!({body})).size()==-1"));
        texts.push(format!("data.all(a,{body}||{body}||{body})"));
    }
    texts
}

/// Events as large as may be: one text, many elements, many members, and deep ones.
fn largest() -> Vec<Event> {
    const SIZE: usize = 2 * 1024 * 1024;
    let list = |item: &str| format!("[{}]", vec![item; SIZE / (item.len() + 1)].join(","));
    let mut members = String::new();
    for number in 0..SIZE / 10 {
        write!(members, "\"{number}\":1,").unwrap();
    }
    let text = "ab".repeat(SIZE / 2);
    let short = format!("\"{}\"", &text[..1000]);
    let deep = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
    [
        format!(r#"{{"type":"x","text":"{text}","data":{{"list":["{text}"],"x":5}}}}"#),
        format!(r#"{{"type":"x","data":{{"list":{}}}}}"#, list("1")),
        format!(r#"{{"type":"x","text":"{text}","data":{{"list":{}}}}}"#, list(&short)),
        format!(r#"{{"type":"x","data":{{{members}"list":[1]}}}}"#),
        format!(r#"{{"type":"x","data":{{"list":[{deep},{deep}],"a":{deep}}}}}"#),
    ]
    .iter()
    .map(|json| event(json))
    .collect()
}

/// Parsed on a stack that is a small part of a thread's.
fn parse_on_little_stack(text: String) -> Result<Expression, QueryFault> {
    let thread = std::thread::Builder::new().stack_size(512 * 1024);
    thread.spawn(move || Expression::parse(&text)).unwrap().join().expect("no panic")
}

#[test]
fn hostile_expressions_are_refused_or_soon_done() {
    let events = largest();
    let mut evaluated = 0;
    for text in hostile(LONGEST) {
        if let Ok(expression) = parse_on_little_stack(text) {
            evaluated += 1;
            // Were there one that explodes, this would not come to its end.
            events.iter().for_each(|event| _ = expression.matches(event));
        }
    }
    assert!((20..60).contains(&evaluated), "{evaluated} are evaluated");
}

#[test]
fn what_is_longer_than_a_parameter_is_not_parsed() {
    for text in hostile(16 * LONGEST).into_iter().filter(|text| text.trim().len() > LONGEST) {
        assert_eq!(parse_on_little_stack(text).err(), Some(QueryFault::TooLong));
    }
}

#[test]
fn what_could_grow_out_of_hand_is_refused() {
    let nested = "no `all`, `exists`, `map` or `filter` may be in or over another";
    check_refused("data.a.all(x, data.b.all(y, x == y))", nested);
    check_refused("data.a.map(x, x).map(x, x) == []", nested);
    check_refused("data.a.filter(x, data.b.exists(y, x == y)).size() > 0", nested);
    let additions = format!("text{} == ''", "+text".repeat(9));
    check_refused(&additions, "it has more than 8 additions");
    let parts = format!("1 in [{}1]", "1,".repeat(400));
    check_refused(&parts, "it has more than 400 parts");
    let in_loop = format!("data.a.all(x, x == 1{})", " && x == 1".repeat(40));
    check_refused(&in_loop, "its `all`, `exists`, `map` and `filter` have more than 100 parts");
    check_refused(&format!("data{}", ".a".repeat(40)), "it is more than 32 parts deep");
    let brackets = format!("{}1{} == 1", "(".repeat(17), ")".repeat(17));
    check_refused(&brackets, "at its character 17: more than 16 brackets deep");
    let conditions = format!("{}true", "true ? true : ".repeat(17));
    check_refused(&conditions, "at its character 230: more than 16 question marks");
}

#[test]
fn an_event_too_large_for_an_expression_does_not_match_it_either_way() {
    let with_list = |items: usize| {
        let items: Vec<_> = (0..items).map(|_| 1.into()).collect();
        accepted(NewEvent::default().with("list", items))
    };
    for expression in
        ["data.list.all(x, x == 1)", "data.list.all(x, x == 2) || true", "!(data.list[0] == 2)"]
    {
        let expression = Expression::parse(expression).unwrap();
        assert!(expression.matches(&with_list(4_000)), "{expression:?}");
        assert!(!expression.matches(&with_list(5_000)), "{expression:?}");
    }
    let long = accepted(NewEvent::new("x").text(&"ab".repeat(1 << 20)));
    let expression = Expression::parse("text.contains('ba') && text.size() > 5").unwrap();
    assert!(expression.matches(&long));
    assert!(!Expression::parse("text.matches('ba')").unwrap().matches(&long));
}

const LEAVES: [&str; 38] = [
    "type",
    "level",
    "severity",
    "text",
    "trace_id",
    "created_at",
    "data",
    "data.x",
    "data.f",
    "data.big",
    "data.least",
    "data.name",
    "data.tags",
    "data.numbers",
    "data.to",
    "data.none",
    "data.ok",
    "data.deep.er",
    "v",
    "1",
    "0",
    "-1",
    "2u",
    "1.5",
    "0.0",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615u",
    "1e308",
    "'a'",
    "''",
    "b'a'",
    "true",
    "false",
    "null",
    "[]",
    "[1, 'a', null]",
    "timestamp('2026-11-22T10:12:19Z')",
];

const PIECES: [&str; 51] = [
    "(", ")", "[", "]", "{", "}", ".", ",", "?", ":", "+", "-", "!", "=", "==", "&&", "||", "<",
    "'", "\"", "'''", "\\", "\\u12", "\\x", "r'", "b\"", "`", "//", " ", "\n", "in", "has(",
    "data", "text", ".all(", ".map(x,", "x", "1", "0x", "1e", ".5", "u", "'a'", "true", "null",
    "\0", "ä", "😀", "@", "$", "a{b:1}",
];

fn any_of(names: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(names)
}

fn some_expression() -> impl Strategy<Value = String> {
    any_of(&LEAVES).prop_map(str::to_owned).prop_recursive(4, 40, 3, |inner| {
        let (a, b, c) = (inner.clone(), inner.clone(), inner.clone());
        let operator =
            any_of(&["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in"]);
        let function =
            any_of(&["size", "int", "uint", "double", "string", "bool", "-", "!", "has"]);
        let method = any_of(&["contains", "startsWith", "endsWith", "size"]);
        let looped = any_of(&["all", "exists", "exists_one", "map", "filter"]);
        prop_oneof![
            6 => (a.clone(), operator, b.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            2 => (function, a.clone()).prop_map(|(name, a)| format!("{name}({a})")),
            2 => (a.clone(), method, b.clone()).prop_map(|(a, name, b)| format!("{a}.{name}({b})")),
            2 => (a.clone(), looped, b.clone())
                .prop_map(|(a, name, b)| format!("{a}.{name}(v, {b})")),
            1 => (a.clone(), b.clone()).prop_map(|(a, b)| format!("{a}[{b}]")),
            1 => (a.clone(), b.clone(), c).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            1 => (a, b).prop_map(|(a, b)| format!("[{a}, {b}]")),
            1 => inner.prop_map(|a| format!("{a}.matches('^[a-f]+')")),
        ]
    })
}

/// Pieces of expressions, in any order.
fn some_pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => any_of(&PIECES).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// How many of so many are evaluated.
fn run(cases: u32, strategy: impl Strategy<Value = String>) -> usize {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let events = [event(FULL), bare()];
    let evaluated = std::cell::Cell::new(0);
    let result = proptest::test_runner::TestRunner::new(config).run(&strategy, |text| {
        if let Ok(expression) = Expression::parse(&text) {
            evaluated.set(evaluated.get() + 1);
            events.iter().for_each(|event| _ = expression.matches(event));
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    evaluated.get()
}

#[test]
fn no_expression_panics() {
    let evaluated = run(10_000, some_expression());
    assert!(evaluated > 2_000, "only {evaluated} were evaluated");
}

#[test]
fn no_text_panics() {
    run(10_000, some_pieces());
}
