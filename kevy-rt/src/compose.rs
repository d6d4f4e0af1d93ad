//! Servers made of what others made: a store, or a session, that holds several.

/// Says which fields of a store, or of a session, hold the parts that its sets work on: implements
/// [`Has`](crate::Has) for each.
///
/// ```text
/// parts! { Mixed: base => [Db, Settings], votes => [Votes] }
/// ```
///
/// A field may be the part itself, or hold it in turn.
#[macro_export]
macro_rules! parts {
    ($whole:ty: $($field:tt => [ $($part:ty),+ $(,)? ]),+ $(,)?) => { $($(
        impl $crate::Has<$part> for $whole {
            #[inline(always)]
            fn part(&self, cx: &$crate::Cx<'_>) -> &$part {
                $crate::Has::<$part>::part(&self.$field, cx)
            }
            #[inline(always)]
            fn part_mut(&mut self, cx: &$crate::Cx<'_>) -> &mut $part {
                $crate::Has::<$part>::part_mut(&mut self.$field, cx)
            }
        }
    )+)+ };
}

/// Within `impl Store`: what is left is up to a field that is a store itself. That leaves `Settings`
/// and `open` to be written, for all fields.
///
/// ```text
/// impl Store for Mixed {
///     type Settings = Settings;
///     fn open(..) -> .. { .. }
///     kevy_rt::rest_of_store! { base: Base }
/// }
/// ```
#[macro_export]
macro_rules! rest_of_store {
    ($field:tt: $store:ty) => {
        fn begin(&mut self, now_ms: u64) {
            <$store as $crate::Store>::begin(&mut self.$field, now_ms);
        }
        fn tick(&mut self, cx: &$crate::Cx<'_>) -> ::core::option::Option<u64> {
            <$store as $crate::Store>::tick(&mut self.$field, cx)
        }
        #[inline]
        fn admit(
            &mut self,
            cx: &$crate::Cx<'_>,
            command: &$crate::CommandInfo,
            args: $crate::Args<'_>,
        ) -> bool {
            <$store as $crate::Store>::admit(&mut self.$field, cx, command, args)
        }
        fn attach(&mut self, changes: &$crate::Changes) {
            <$store as $crate::Store>::attach(&mut self.$field, changes);
        }
        fn space(scope: u64) -> u64 {
            <$store as $crate::Store>::space(scope)
        }
        fn observe(&self, cx: &$crate::Cx<'_>, scrape: &mut $crate::Scrape) {
            <$store as $crate::Store>::observe(&self.$field, cx, scrape);
        }
        fn settle(&mut self, cx: &$crate::Cx<'_>, key: $crate::Key<'_>) {
            <$store as $crate::Store>::settle(&mut self.$field, cx, key);
        }
        #[inline]
        fn prefetch(&self, hash: u64, scope: u64) {
            <$store as $crate::Store>::prefetch(&self.$field, hash, scope);
        }
        #[inline]
        fn prefetch_record(&self, hash: u64, scope: u64) {
            <$store as $crate::Store>::prefetch_record(&self.$field, hash, scope);
        }
        #[inline]
        fn placement(key: &[u8]) -> &[u8] {
            <$store as $crate::Store>::placement(key)
        }
    };
}
