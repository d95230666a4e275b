CREATE TABLE `captions` (
	`id` text PRIMARY KEY NOT NULL,
	`model` text NOT NULL,
	`version_id` text NOT NULL,
	`caption` text NOT NULL,
	`candidates` text NOT NULL,
	`image_sha256` text NOT NULL,
	`image_media_type` text NOT NULL,
	`image_size_bytes` integer NOT NULL,
	`image_width` integer NOT NULL,
	`image_height` integer NOT NULL,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `captions_image` ON `captions` (`image_sha256`);--> statement-breakpoint
CREATE INDEX `captions_version` ON `captions` (`version_id`,`id`);--> statement-breakpoint
CREATE TABLE `feedback` (
	`id` text PRIMARY KEY NOT NULL,
	`caption_id` text NOT NULL,
	`end_user` text NOT NULL,
	`version_id` text NOT NULL,
	`rating` text NOT NULL,
	`correction` text,
	`reasons` text NOT NULL,
	`comment` text,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	FOREIGN KEY (`caption_id`) REFERENCES `captions`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE UNIQUE INDEX `feedback_caption_end_user` ON `feedback` (`caption_id`,`end_user`);--> statement-breakpoint
CREATE INDEX `feedback_version` ON `feedback` (`version_id`,`id`);--> statement-breakpoint
CREATE TABLE `idempotency_keys` (
	`operation` text NOT NULL,
	`key` text NOT NULL,
	`body_sha256` text NOT NULL,
	`status` integer,
	`body` text,
	`content_type` text,
	`created_at` integer NOT NULL,
	PRIMARY KEY(`operation`, `key`)
);
--> statement-breakpoint
CREATE INDEX `idempotency_keys_age` ON `idempotency_keys` (`created_at`);