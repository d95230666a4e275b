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
CREATE INDEX `idempotency_keys_age` ON `idempotency_keys` (`created_at`);--> statement-breakpoint
CREATE TABLE `alias_moves` (
	`model` text NOT NULL,
	`alias` text NOT NULL,
	`revision` integer NOT NULL,
	`move` text NOT NULL,
	`from_version_id` text,
	`to_version_id` text NOT NULL,
	`reason` text NOT NULL,
	`override` integer NOT NULL,
	`actor` text NOT NULL,
	`created_at` integer NOT NULL,
	PRIMARY KEY(`model`, `alias`, `revision`)
);
--> statement-breakpoint
CREATE TABLE `aliases` (
	`model` text NOT NULL,
	`alias` text NOT NULL,
	`version_id` text NOT NULL,
	`revision` integer NOT NULL,
	`updated_at` integer NOT NULL,
	PRIMARY KEY(`model`, `alias`)
);
--> statement-breakpoint
CREATE TABLE `data_sets` (
	`id` text PRIMARY KEY NOT NULL,
	`job_id` text NOT NULL,
	`sha256` text NOT NULL,
	`size_bytes` integer NOT NULL,
	`counts` text NOT NULL,
	`dropped` text NOT NULL,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `data_sets_job_id_unique` ON `data_sets` (`job_id`);--> statement-breakpoint
CREATE TABLE `job_events` (
	`job_id` text NOT NULL,
	`sequence` integer NOT NULL,
	`callback_sequence` integer,
	`type` text NOT NULL,
	`level` text NOT NULL,
	`message` text NOT NULL,
	`data` text NOT NULL,
	`created_at` integer NOT NULL,
	PRIMARY KEY(`job_id`, `sequence`),
	FOREIGN KEY (`job_id`) REFERENCES `jobs`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `job_events_callback` ON `job_events` (`job_id`,`callback_sequence`);--> statement-breakpoint
CREATE TABLE `jobs` (
	`id` text PRIMARY KEY NOT NULL,
	`tenant_id` text NOT NULL,
	`model` text NOT NULL,
	`base_version_id` text NOT NULL,
	`base_manifest_sha256` text NOT NULL,
	`parent_version_id` text NOT NULL,
	`parent_manifest_sha256` text NOT NULL,
	`method` text NOT NULL,
	`seed` integer NOT NULL,
	`promote` text NOT NULL,
	`filter` text NOT NULL,
	`metadata` text NOT NULL,
	`status` text NOT NULL,
	`status_reason` text,
	`progress` text,
	`outcome` text,
	`gate` text,
	`version_id` text,
	`token` text NOT NULL,
	`callback_secret` text NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`ended_at` integer
);
--> statement-breakpoint
CREATE INDEX `jobs_status` ON `jobs` (`status`);--> statement-breakpoint
CREATE TABLE `versions` (
	`id` text PRIMARY KEY NOT NULL,
	`model` text NOT NULL,
	`manifest_sha256` text NOT NULL,
	`signature` text NOT NULL,
	`base_version_id` text NOT NULL,
	`parent_version_id` text NOT NULL,
	`job_id` text NOT NULL,
	`data_set_id` text NOT NULL,
	`gate` text NOT NULL,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `versions_model` ON `versions` (`model`,`created_at`);