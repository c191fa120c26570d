mod files;
mod linking;
mod talking;
mod world;
