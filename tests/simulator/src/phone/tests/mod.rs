mod linking;
mod talking;
mod world;
