//! Arguments that have no names.

#![allow(unused)]

use kevy_rt::Arg;

#[derive(Arg)]
struct Point(f64, f64);

#[derive(Arg)]
enum Shape {
    Circle { x: f64, y: f64, radius: f64 },
    Square(f64, f64),
}

#[derive(Arg)]
struct Nothing;

fn main() {}
