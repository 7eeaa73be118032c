//! Of which services a filter can want events, as far as that can be told without any: so that a hub may leave the others' in the stream.
//!
//! Only an expression tells it: `data["service.name"] == "shop"`, or `in ["shop", "cart"]`, combined with others by `&&` and `||`. The key
//! `service.name=shop` finds the workshop, too. And what is followed may be of any service, unless the filter is held within another.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

use super::expression::Expression;
use super::{Filter, Follow};
use crate::services::{SERVICE, Services};

impl Filter {
    /// The services of all that may pass, and maybe of some that may not.
    pub(crate) fn services(&self) -> Services {
        match self.follow {
            Follow::None => self.matching_services(),
            Follow::Span | Follow::Trace => {
                let limits = self.within.iter().map(Self::matching_services);
                limits.fold(Services::All, Services::and)
            }
        }
    }

    /// Of all that match.
    fn matching_services(&self) -> Services {
        let expressions = self.expressions.iter().map(|expression| expression.services());
        expressions.fold(Services::All, Services::and)
    }
}

impl Expression {
    /// Of all events of which it is true.
    fn services(&self) -> Services {
        of(self.root())
    }
}

fn of(expression: &IdedExpr) -> Services {
    let Expr::Call(CallExpr { func_name, args, .. }) = &expression.expr else {
        return Services::All;
    };
    let parts = || args.iter().map(of);
    match (func_name.as_str(), args.as_slice()) {
        (operators::LOGICAL_AND, _) => parts().fold(Services::All, Services::and),
        (operators::LOGICAL_OR, _) => parts().fold(Services::none(), Services::or),
        (operators::EQUALS, [name, text] | [text, name]) if is_service(name) => {
            text_of(text).map_or(Services::All, |text| Services::named([text]))
        }
        (operators::IN, [name, list]) if is_service(name) => texts_of(list),
        _ => Services::All,
    }
}

/// Whether it is `data["service.name"]`.
fn is_service(expression: &IdedExpr) -> bool {
    let Expr::Call(CallExpr { func_name, args, .. }) = &expression.expr else {
        return false;
    };
    match args.as_slice() {
        [map, key] if func_name == operators::INDEX => {
            matches!(&map.expr, Expr::Ident(name) if name == "data")
                && text_of(key) == Some(SERVICE)
        }
        _ => false,
    }
}

fn text_of(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

fn texts_of(list: &IdedExpr) -> Services {
    let Expr::List(list) = &list.expr else {
        return Services::All;
    };
    let texts: Option<Vec<_>> = list.elements.iter().map(text_of).collect();
    texts.map_or(Services::All, Services::named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::TraceQuery;

    fn filter(expression: &str, rest: &str) -> Filter {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let query = query.append_pair("where", expression).finish();
        TraceQuery::parse(&format!("{query}{rest}"), None).unwrap().filter
    }

    #[track_caller]
    fn check(expression: &str, expected: &[&str]) {
        let found = filter(expression, "&follow=none").services();
        assert_eq!(found, Services::named(expected.iter().copied()), "{expression}");
    }

    #[test]
    fn expressions_tell_of_which_services_events_are_wanted() {
        check(r#"data["service.name"] == "shop""#, &["shop"]);
        check(r#""shop" == data["service.name"]"#, &["shop"]);
        check(r#"data["service.name"] in ["shop", "cart"]"#, &["cart", "shop"]);
        check(r#"data["service.name"] == "shop" && severity >= 17"#, &["shop"]);
        check(r#"severity >= 17 && data["service.name"] == "shop" && text != """#, &["shop"]);
        check(
            r#"data["service.name"] == "shop" || data["service.name"] == "cart""#,
            &["cart", "shop"],
        );
        check(r#"data["service.name"] == "shop" && data["service.name"] == "cart""#, &[]);
        check(r#"data["service.name"] in []"#, &[]);
    }

    #[test]
    fn what_is_not_surely_of_some_services_may_be_of_any() {
        for expression in [
            r#"data["service.name"] != "shop""#,
            r#"!(data["service.name"] == "shop")"#,
            r#"data["service.name"] == "shop" || severity >= 17"#,
            r#"data["service.name"].contains("shop")"#,
            r#"data["service.name"] == text"#,
            r#"data["service.name"] in ["shop", text]"#,
            r#"data["service.names"] == "shop""#,
            r#"data.service.name == "shop""#,
            r#"data.to["service.name"] == "shop""#,
            r#"severity >= 17 ? data["service.name"] == "shop" : true"#,
            r#"data.to.all(data, data["service.name"] == "shop")"#,
        ] {
            assert_eq!(
                filter(expression, "&follow=none").services(),
                Services::All,
                "{expression}"
            );
        }
        let by_key = TraceQuery::parse("service.name=shop&follow=none", None).unwrap();
        assert_eq!(by_key.filter.services(), Services::All);
    }

    #[test]
    fn what_is_followed_may_be_of_any_service_that_the_limits_let_pass() {
        let of_shop = filter(r#"data["service.name"] == "shop""#, "");
        assert_eq!(of_shop.services(), Services::All);
        let limited = Filter::everything().within(&of_shop);
        assert_eq!(limited.services(), Services::named(["shop"]));
        let broad = filter("severity >= 17", "").within(&of_shop);
        assert_eq!(broad.services(), Services::named(["shop"]));
        let both = filter(r#"data["service.name"] == "cart""#, "").within(&of_shop);
        assert_eq!(both.services(), Services::named(["shop"]));
        let by_text = TraceQuery::parse("service.name=shop", None).unwrap().filter;
        assert_eq!(of_shop.within(&by_text).services(), Services::All);
    }
}
