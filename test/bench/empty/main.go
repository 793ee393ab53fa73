// Empty does nothing: it is what any Go program costs.
package main

func main() {}
