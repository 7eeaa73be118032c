//! Measurements as messages: a JSON array of them for each subject, cut where a message would be too large.
//!
//! A measurement is read back as what it was, to the last bit of each number: what it does to a series depends on that, and all hubs
//! are to show the same. Its attributes are handed on as they stand: however deep they are, they can be read.

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::subject;
use super::wire::{Message, Packer, TooLarge, check_form};
use crate::measurement::{Amount, Bucket, Distribution, Measurement, Shape, Source};
use crate::services::SERVICE;
use crate::value::{Object, SmolStr};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    id: SmolStr,
    amount: AmountForm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<SourceForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<SmolStr>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    attributes: Option<&'a RawValue>,
}

/// What passes the check of measurements is finite here.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum AmountForm {
    Add(f64),
    Total(f64),
    Set(f64),
    Change(f64),
    Level(f64),
    Observe(Vec<f64>),
    Distribution(DistributionForm),
    DistributionTotal(DistributionForm),
}

#[derive(Serialize, Deserialize)]
struct SourceForm {
    id: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct DistributionForm {
    count: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sum: Option<Float>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min: Option<Float>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<Float>,
    shape: ShapeForm,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum ShapeForm {
    /// Lower and upper bound, and how many.
    Buckets(Vec<(Float, Float, u64)>),
    Quantiles(Vec<(Float, Float)>),
}

/// A number that may be none of JSON's: then it is written as in JSON of protobuf.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
enum Float {
    Finite(f64),
    Other(NotFinite),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum NotFinite {
    NaN,
    Infinity,
    #[serde(rename = "-Infinity")]
    NegativeInfinity,
}

impl From<f64> for Float {
    fn from(number: f64) -> Self {
        match number {
            f64::INFINITY => Self::Other(NotFinite::Infinity),
            f64::NEG_INFINITY => Self::Other(NotFinite::NegativeInfinity),
            _ if number.is_nan() => Self::Other(NotFinite::NaN),
            _ => Self::Finite(number),
        }
    }
}

impl From<Float> for f64 {
    fn from(number: Float) -> Self {
        match number {
            Float::Finite(number) => number,
            Float::Other(NotFinite::NaN) => Self::NAN,
            Float::Other(NotFinite::Infinity) => Self::INFINITY,
            Float::Other(NotFinite::NegativeInfinity) => Self::NEG_INFINITY,
        }
    }
}

impl From<&Amount> for AmountForm {
    fn from(amount: &Amount) -> Self {
        match amount {
            Amount::Add(value) => Self::Add(*value),
            Amount::Total(value) => Self::Total(*value),
            Amount::Set(value) => Self::Set(*value),
            Amount::Change(value) => Self::Change(*value),
            Amount::Level(value) => Self::Level(*value),
            Amount::Observe(values) => Self::Observe(values.clone()),
            Amount::Distribution(distribution) => Self::Distribution(distribution.into()),
            Amount::DistributionTotal(distribution) => Self::DistributionTotal(distribution.into()),
        }
    }
}

impl From<AmountForm> for Amount {
    fn from(amount: AmountForm) -> Self {
        match amount {
            AmountForm::Add(value) => Self::Add(value),
            AmountForm::Total(value) => Self::Total(value),
            AmountForm::Set(value) => Self::Set(value),
            AmountForm::Change(value) => Self::Change(value),
            AmountForm::Level(value) => Self::Level(value),
            AmountForm::Observe(values) => Self::Observe(values),
            AmountForm::Distribution(distribution) => Self::Distribution(distribution.into()),
            AmountForm::DistributionTotal(distribution) => {
                Self::DistributionTotal(distribution.into())
            }
        }
    }
}

impl From<&Distribution> for DistributionForm {
    fn from(distribution: &Distribution) -> Self {
        let Distribution { count, sum, min, max, shape } = distribution;
        let shape = match shape {
            Shape::Buckets(buckets) => {
                let form =
                    |bucket: &Bucket| (bucket.lower.into(), bucket.upper.into(), bucket.count);
                ShapeForm::Buckets(buckets.iter().map(form).collect())
            }
            Shape::Quantiles(quantiles) => {
                let form = |&(quantile, value): &(f64, f64)| (quantile.into(), value.into());
                ShapeForm::Quantiles(quantiles.iter().map(form).collect())
            }
        };
        let [sum, min, max] = [sum, min, max].map(|number| number.map(Float::from));
        Self { count: *count, sum, min, max, shape }
    }
}

impl From<DistributionForm> for Distribution {
    fn from(distribution: DistributionForm) -> Self {
        let DistributionForm { count, sum, min, max, shape } = distribution;
        let shape = match shape {
            ShapeForm::Buckets(buckets) => {
                let bucket = |(lower, upper, count): (Float, Float, u64)| Bucket {
                    lower: lower.into(),
                    upper: upper.into(),
                    count,
                };
                Shape::Buckets(buckets.into_iter().map(bucket).collect())
            }
            ShapeForm::Quantiles(quantiles) => {
                let quantile = |(quantile, value): (Float, Float)| (quantile.into(), value.into());
                Shape::Quantiles(quantiles.into_iter().map(quantile).collect())
            }
        };
        let [sum, min, max] = [sum, min, max].map(|number| number.map(f64::from));
        Self { count, sum, min, max, shape }
    }
}

impl<'a> From<&'a Measurement> for Form<'a> {
    fn from(measurement: &'a Measurement) -> Self {
        let Measurement { id, amount, source, unit, attributes } = measurement;
        let source = source.map(|Source { id, started, at }| SourceForm { id, started, at });
        let attributes = (!attributes.is_empty())
            .then(|| serde_json::from_str(attributes).expect("attributes are valid JSON"));
        Self { id: id.clone(), amount: amount.into(), source, unit: unit.clone(), attributes }
    }
}

impl TryFrom<Form<'_>> for Measurement {
    type Error = serde_json::Error;

    fn try_from(form: Form<'_>) -> Result<Self, serde_json::Error> {
        let Form { id, amount, source, unit, attributes } = form;
        let source = source.map(|SourceForm { id, started, at }| Source { id, started, at });
        let attributes = attributes.map_or("", RawValue::get);
        // They go into frames as they are.
        let is_one_object = attributes.is_empty() || attributes.starts_with('{');
        if !is_one_object || attributes.contains(['\n', '\r']) {
            return Err(serde_json::Error::custom("attributes are an object on one line"));
        }
        Ok(Self { id, amount: amount.into(), source, unit, attributes: attributes.into() })
    }
}

/// The attributes of which some make the subject; those that cannot be read name no service.
fn named(attributes: &str) -> Object {
    let is_named = attributes.contains(SERVICE);
    if is_named { serde_json::from_str(attributes).unwrap_or_default() } else { Object::default() }
}

/// Whether a measurement fits into a message.
pub(super) fn check(measurement: &Measurement, limit: usize) -> Result<(), TooLarge> {
    check_form(measurement.size(), || Form::from(measurement), limit)
}

/// Makes messages of measurements. Those of one subject stay in order.
pub(super) fn encode<'a>(
    measurements: impl IntoIterator<Item = &'a Measurement>,
    prefix: &str,
    limit: usize,
) -> Result<Vec<Message>, TooLarge> {
    let mut packer = Packer::new(limit);
    for measurement in measurements {
        let subject = subject::of_measurement(prefix, &named(&measurement.attributes));
        packer.add(subject, &Form::from(measurement))?;
    }
    Ok(packer.finish())
}

/// The measurements of a message.
pub(super) fn decode(payload: &[u8]) -> Result<Vec<Measurement>, serde_json::Error> {
    let forms: Vec<Form<'_>> = serde_json::from_slice(payload)?;
    forms.into_iter().map(Measurement::try_from).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::Value;

    /// Numbers are compared by what is told of them: so NaN is NaN, and -0 is not 0.
    #[track_caller]
    fn check_round_trip(measurement: &Measurement) {
        let messages = encode([measurement], "t", usize::MAX).unwrap();
        assert_eq!(messages.len(), 1);
        let size = messages[0].payload.len();
        assert_eq!(check(measurement, size), Ok(()));
        let too_large = check(measurement, size - 1);
        assert_eq!(too_large, Err(TooLarge { bytes: size, limit: size - 1 }));
        // So what is not measured is small enough.
        assert!(size <= 6 * measurement.size());
        let read = decode(&messages[0].payload).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", [measurement]));
    }

    fn finite() -> impl Strategy<Value = f64> {
        any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |number| number.is_finite())
    }

    fn shape() -> impl Strategy<Value = Shape> {
        let number = || any::<f64>();
        let bucket = (number(), number(), any::<u64>()).prop_map(|(lower, upper, count)| Bucket {
            lower,
            upper,
            count,
        });
        prop_oneof![
            prop::collection::vec(bucket, 0..5).prop_map(Shape::Buckets),
            prop::collection::vec((number(), number()), 0..5).prop_map(Shape::Quantiles),
        ]
    }

    fn distribution() -> impl Strategy<Value = Distribution> {
        let parts = (any::<u64>(), any::<[Option<f64>; 3]>(), shape());
        parts.prop_map(|(count, [sum, min, max], shape)| Distribution {
            count,
            sum,
            min,
            max,
            shape,
        })
    }

    fn amount() -> impl Strategy<Value = Amount> {
        prop_oneof![
            finite().prop_map(Amount::Add),
            finite().prop_map(Amount::Total),
            finite().prop_map(Amount::Set),
            finite().prop_map(Amount::Change),
            finite().prop_map(Amount::Level),
            prop::collection::vec(finite(), 0..5).prop_map(Amount::Observe),
            distribution().prop_map(Amount::Distribution),
            distribution().prop_map(Amount::DistributionTotal),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_measured_is_read_back(
            amount in amount(), id in ".{1,20}", unit in prop::option::of(".{0,20}"),
            source in prop::option::of((any::<u64>(), prop::array::uniform2(prop::option::of(0..i64::MAX)))),
            members in prop::collection::vec((".{0,20}", finite()), 0..4),
        ) {
            let time = |nanoseconds: i64| Timestamp::from_nanosecond(nanoseconds.into()).unwrap();
            let source = source.map(|(id, times)| {
                let [started, at] = times.map(|nanoseconds| nanoseconds.map(time));
                Source { id, started, at }
            });
            let attributes: Object =
                members.into_iter().map(|(key, number)| (key.into(), number.into())).collect();
            let measurement = Measurement {
                id: id.into(), amount, source, unit: unit.map(SmolStr::from), attributes: "".into(),
            };
            check_round_trip(&measurement.attributes(attributes));
        }
    }

    #[test]
    fn numbers_that_json_has_not_are_read_back() {
        const INFINITY: f64 = f64::INFINITY;
        let told = |shape| Distribution {
            count: u64::MAX,
            sum: Some(f64::NAN),
            min: Some(-INFINITY),
            max: None,
            shape,
        };
        let bucket = |lower, upper, count| Bucket { lower, upper, count };
        let buckets = vec![
            bucket(-INFINITY, -0.0, 3),
            bucket(0.1 + 0.2, f64::MIN_POSITIVE, u64::MAX),
            bucket(5e-324, INFINITY, 0),
        ];
        check_round_trip(&Measurement::distribution("h", told(Shape::Buckets(buckets))));
        let quantiles = vec![(0.5, f64::NAN), (1.0, f64::MAX)];
        check_round_trip(&Measurement::distribution_total("h", told(Shape::Quantiles(quantiles))));
        check_round_trip(&Measurement::gauge("g", -0.0));
    }

    #[test]
    fn each_service_has_a_subject_and_no_message_is_larger_than_may_be() {
        let measured = |service: &str, value: f64| {
            let attributes = [("service.name".into(), service.into())].into_iter().collect();
            Measurement::gauge("g", value).attributes(attributes)
        };
        let all = [measured("x", 1.0), measured("y", 2.0), measured("x", 3.0), measured("x", 4.0)];
        let size = encode([&all[0]], "t", 1000).unwrap()[0].payload.len();
        let messages = encode(&all, "t", 2 * size).unwrap();
        let told: Vec<_> = messages
            .iter()
            .map(|message| (message.subject.as_str(), decode(&message.payload).unwrap()))
            .collect();
        let [first, second, third, fourth] = all.clone();
        assert_eq!(
            told,
            [
                ("t.metric.x", vec![first, third]),
                ("t.metric.x", vec![fourth]),
                ("t.metric.y", vec![second]),
            ]
        );
        assert_eq!(encode(&all, "t", size - 1), Err(TooLarge { bytes: size, limit: size - 1 }));
    }

    #[test]
    fn attributes_are_read_however_deep_they_are() {
        let deep = (0..500).fold(Value::Null, |value, _| Value::Array(vec![value]));
        let attributes = [("deep".into(), deep), ("service.name".into(), "x".into())];
        check_round_trip(
            &Measurement::gauge("g", 1.0).attributes(attributes.into_iter().collect()),
        );
    }

    #[test]
    fn what_is_not_of_a_hubs_making_is_not_taken() {
        for unreadable in [
            "{}",
            r#"[{"id":"a"}]"#,
            r#"[{"id":"a","amount":{"add":1e999}}]"#,
            r#"[{"id":"a","amount":{"add":null}}]"#,
            r#"[{"id":"a","amount":{"add":1},"attributes":[]}]"#,
            "[{\"id\":\"a\",\"amount\":{\"add\":1},\"attributes\":{\n}}]",
        ] {
            assert!(decode(unreadable.as_bytes()).is_err(), "{unreadable}");
        }
        assert!(decode(br#"[{"id":"a","amount":{"add":1},"attributes":{"a":1}}]"#).is_ok());
    }
}
