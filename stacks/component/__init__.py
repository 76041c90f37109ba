"""The component as a plugin, for programs in TypeScript, Go, C#, Java or YAML."""
