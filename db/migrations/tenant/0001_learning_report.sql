ALTER TABLE `jobs` ADD `report_sha256` text;--> statement-breakpoint
UPDATE `jobs` SET `status_reason` = json_set(`status_reason`, '$.help', json('[]')) WHERE `status_reason` IS NOT NULL;--> statement-breakpoint
UPDATE `jobs` SET `gate` = json_set(`gate`, '$.checks', json('[]')) WHERE `gate` IS NOT NULL;--> statement-breakpoint
UPDATE `versions` SET `gate` = json_set(`gate`, '$.checks', json('[]'));--> statement-breakpoint
UPDATE `data_sets` SET `counts` = json_set(`counts`, '$.by_version', json('{}'));
